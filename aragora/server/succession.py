"""gunicorn's hooks: how the master begins and reloads, and when a worker may leave; `conf/gunicorn.conf.py` names them.

On HUP gunicorn forks the new workers and ends the old ones at the same moment; whatever arrived while the new ones
start would wait for them. So an old worker goes on serving until all of its successors have arrived. A reload that
cannot succeed is not even begun. A worker that holds too much memory is replaced.

The master reads this module with its configuration, before anything of the application, and keeps nothing else of it:
all other imports are in the hooks.
"""

import importlib
import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

PLACES = 4096
HEAD = struct.Struct("=QQ")
MEBIBYTE = 1 << 20
REHEARSAL_SECONDS = 30.0
LOOK_SECONDS = 0.02
DRAIN_CHECK_SECONDS = 0.2
MEMORY_CHECK_SECONDS = 10.0
LEAST_LIFE_SECONDS = 3600.0  # between two replacements for memory: a limit set too low must not become a loop
SUCCESSION_SECONDS = 10.0  # how long a reload may take to bring new workers before the old ones leave without them

_STATM = Path("/proc/self/statm")


class Succession:
    """Which workers the last reload brings, and which of them serve; in memory that the master shares with all workers.

    Workers are known by their age, gunicorn's running number. Made by the master before it forks; the master writes
    the head, each worker one byte of its own.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, HEAD.size + PLACES)

    def begin(self, last: int, count: int) -> None:
        """The master is about to fork `count` workers, with the ages that follow `last`."""
        self._memory[HEAD.size :] = bytes(PLACES)
        self._memory[: HEAD.size] = HEAD.pack(last, count)

    def arrived(self, age: int) -> None:
        """The worker of this age serves."""
        last, _ = HEAD.unpack_from(self._memory)
        if age > last:
            self._memory[HEAD.size + age % PLACES] = 1

    def complete(self, age: int) -> bool:
        """Whether nothing is left that the worker of this age has to wait for before it leaves."""
        last, count = HEAD.unpack_from(self._memory)
        return bool(age > last or sum(self._memory[HEAD.size :]) >= count)


def rehearsed(server: Any, modules: Sequence[str]) -> Callable[[], None]:
    """The master's `reload`, for `server.reload`: it happens only if the configuration and `modules` can be loaded.

    That is tried in a child, which may fail, or never come back, without harm. `server` is gunicorn's arbiter.
    """
    reload: Callable[[], None] = server.reload

    def reload_if_loadable() -> None:
        if _succeeds_in_a_child(lambda: _load(server, modules)):
            reload()
        else:
            server.log.error("HUP: what is new cannot be loaded, see above; everything goes on as it was")

    return reload_if_loadable


def _load(server: Any, modules: Sequence[str]) -> None:
    server.app.reload()
    for module in () if server.app.cfg.preload_app else modules:
        importlib.import_module(module)


def _succeeds_in_a_child(call: Callable[[], None]) -> bool:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            call()
            code = 0
        except SystemExit as error:
            print(error.code, file=sys.stderr)  # what the interpreter would do
        except BaseException:  # noqa: BLE001 - a child of a fork has no caller to raise it to
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    given_up = time.monotonic() + REHEARSAL_SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        if time.monotonic() > given_up:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(LOOK_SECONDS)


class Allowance:
    """How much memory one worker may hold before it is replaced, and after how many seconds of life at the earliest.

    `mebibytes` 0 is without a limit.
    """

    def __init__(self, mebibytes: int, least_life: float) -> None:
        self._limit = mebibytes * MEBIBYTE
        self._begins = time.monotonic() + least_life

    def exceeded(self) -> int:
        """The bytes that this process holds if they are too many, else 0. Where the system does not tell, none are."""
        if not self._limit or time.monotonic() < self._begins:
            return 0
        held = resident()
        return held if held > self._limit else 0


def resident() -> int:
    """Bytes of memory that this process holds, those it shares with others included; 0 where /proc is not Linux's."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def patch() -> None:
    """Give the libraries that the master imports gevent's blocking calls; the worker's own patching comes too late.

    Not the calls that the master supervises by: under gevent's os.fork and os.waitpid no one would learn of a worker's
    end, because the master runs no event loop.
    """
    import warnings

    from gevent import monkey

    monkey.patch_all(os=False, signal=False)
    warnings.filterwarnings("ignore", "Patching more than once", monkey.MonkeyPatchWarning)  # the worker adds these two


def forget_the_application() -> None:
    """The master must not keep the application's modules: its next workers would mix old modules with new ones."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "aragora"]:
        del sys.modules[module]


def libraries() -> frozenset[tuple[str, str]]:
    """The installed libraries and their versions, as they are on the disk now."""
    from importlib import metadata

    return frozenset(
        (found.name, found.version) for found in metadata.distributions() if found.name != "aragora-gateway"
    )


def on_starting(server: Any) -> None:
    """Load every library once, so that a worker starts with the application's own modules left to import.

    Two thirds of a worker's start would go to libraries, and while all start at once the others wait for the
    processors. Nothing happens at import time, so there is nothing that a fork could break.
    """
    import gc

    patch()

    from aragora.server import process, wsgi  # noqa: F401
    from aragora.settings import load
    from aragora.storage import load_driver

    load_driver(load())
    server.succession = Succession()
    server.libraries = libraries()
    # HUP with a mistake in the settings or in the code would end the master, and the service with it.
    server.reload = rehearsed(server, ("aragora.server.wsgi", "aragora.server.process"))
    if not server.cfg.preload_app:
        forget_the_application()
    # What all workers share they need not look through, nor copy.
    gc.collect()
    gc.freeze()


def on_reload(server: Any) -> None:
    """HUP: name the workers to come, so that the old ones can wait for them."""
    server.succession.begin(server.worker_age, server.cfg.workers)
    if libraries() != server.libraries:
        server.log.warning("libraries were changed, which HUP does not bring: replace the master by USR2 or a restart")


def pre_fork(server: Any, worker: Any) -> None:
    """Hand the worker what it shares with the others."""
    worker.succession = server.succession


def post_worker_init(worker: Any) -> None:
    """Start the debates of this process, and watch for the end of its life."""
    import gc

    import gevent

    from aragora.server import process

    process.start()
    # A full collection stops every greenlet: with a thousand debates in memory for 0.25 s, every three seconds, to find
    # next to nothing. What was imported is looked at no more, what lives long ten times more rarely.
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 100)
    gevent.spawn(drain, worker)

    def leave(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, worker.handle_exit)  # a second one does not wait
        gevent.spawn(leave_to_successors, worker)

    signal.signal(signal.SIGTERM, leave)
    worker.succession.arrived(worker.age)


def leave_to_successors(worker: Any) -> None:
    """End this worker once those of a reload serve; at once where none are to come."""
    import gevent

    given_up = time.monotonic() + SUCCESSION_SECONDS
    while not worker.succession.complete(worker.age) and time.monotonic() < given_up:
        gevent.sleep(DRAIN_CHECK_SECONDS)
    worker.alive = False


def drain(worker: Any) -> None:
    """Hand everything over as soon as the worker is to go: by TERM, HUP, after its last request, or grown too large.

    gunicorn tells its hooks of QUIT only, and waits for every open connection first: WebSockets would hold
    the worker for the whole graceful timeout, and its debates with it.
    """
    import gevent

    from aragora.server import process
    from aragora.settings import load

    allowance = Allowance(load().max_memory, LEAST_LIFE_SECONDS)
    looked = time.monotonic()
    while worker.alive:
        gevent.sleep(DRAIN_CHECK_SECONDS)
        if time.monotonic() - looked >= MEMORY_CHECK_SECONDS:
            looked = time.monotonic()
            if held := allowance.exceeded():
                worker.log.info("replaced at %d MiB, over ARAGORA_MAX_MEMORY", held // MEBIBYTE)
                worker.alive = False
    process.stop(worker.cfg.graceful_timeout)


def worker_int(_worker: Any) -> None:
    """QUIT or INT: stop now."""
    from aragora.server import process

    process.stop(0)


def worker_exit(_server: Any, worker: Any) -> None:
    """Whatever ended the worker, it leaves nothing behind. The master calls it too, for a vanished worker."""
    process = sys.modules.get("aragora.server.process")
    if process is not None and worker.pid == os.getpid():
        process.discard()
