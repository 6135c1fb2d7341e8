"""When a worker of gunicorn may leave: not before the workers that a reload brings serve, and when it holds too much.

On HUP gunicorn forks the new workers and ends the old ones at the same moment; whatever arrived while the new ones
start would wait for them. So an old worker goes on serving until all of its successors have arrived. A reload that
cannot succeed is not even begun.
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
from typing import Any

PLACES = 4096
HEAD = struct.Struct("=QQ")
MEBIBYTE = 1 << 20
REHEARSAL_SECONDS = 30.0
LOOK_SECONDS = 0.02

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
        except BaseException:  # noqa: BLE001 - a child of a fork has nobody to raise it to
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
