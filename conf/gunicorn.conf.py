"""The application's server, gunicorn with gevent workers: `gunicorn -c conf/gunicorn.conf.py` is all it takes.

Every value stands with its reason; the variable named beside it overrides it without an edit, and gunicorn's
own flags override both. The file is read again on HUP.
"""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from aragora.errors import SettingsError
from aragora.settings import Settings, load

DRAIN_CHECK_SECONDS = 0.2
MEMORY_CHECK_SECONDS = 10.0
LEAST_LIFE_SECONDS = 3600.0  # between two replacements for memory: a limit set too low must not become a loop
SUCCESSION_SECONDS = 10.0  # how long a reload may take to bring new workers before the old ones leave without them


def patch() -> None:
    """Give the libraries that the master imports gevent's blocking calls; the worker's own patching comes too late.

    Not the calls that the master supervises by: under gevent's os.fork and os.waitpid nobody would learn of a worker's
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


def loaded() -> Settings:
    """The application's settings; a value that does not fit stops the start with one line that names it."""
    try:
        return load()
    except SettingsError as error:
        sys.exit(f"Error: {error}")


def cores() -> int:
    """The processors this process may use: an affinity mask and a container's quota count."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


def worker_count(workload: str) -> int:
    """Workers for `cpu` (one a core), `io` (2 x cores + 1), `mixed` (2 x cores), or a number as it stands."""
    formulas = {"cpu": cores(), "io": 2 * cores() + 1, "mixed": 2 * cores()}
    return formulas[workload] if workload in formulas else int(workload)


settings = loaded()

# What is served: also the answer to `gunicorn -c conf/gunicorn.conf.py` without an application's name.
wsgi_app = "aragora.server.wsgi:application"

# The first takes HTTP, the second is the public WebSocket address; both serve the same application. Loopback: the
# gateway in front is the only caller that should reach it. ARAGORA_BIND, ARAGORA_WS_BIND.
bind = list(dict.fromkeys([settings.bind, settings.ws_bind]))

# Waiting for models costs a greenlet, not a worker; a statement of SQLite stops its whole worker for its moment. Hence
# `mixed`: two for each core keep the core busy meanwhile, and nowhere is there only one, which would leave nobody to
# serve while it is replaced. ARAGORA_WORKLOAD, ARAGORA_WORKERS.
workers = settings.workers or worker_count(settings.workload)

# A greenlet per connection: WebSockets and long polls wait without holding a thread.
worker_class = "gevent"

# Connections of one worker and address, idle ones of the gateway's pool included; further ones wait in the listen
# queue. ARAGORA_WORKER_CONNECTIONS.
worker_connections = settings.worker_connections

# Seconds. With gevent it bounds how long the event loop may be blocked, not how long a request may take: 300 in
# production, 120 in development. ARAGORA_TIMEOUT.
timeout = settings.timeout

# Seconds that TERM, HUP and the replacement of a worker grant requests in flight; debates are handed over at once. 30
# in production, 10 in development. ARAGORA_GRACEFUL_TIMEOUT.
graceful_timeout = settings.graceful_timeout

# Idle seconds before a kept connection is closed; it bounds the whole next request head too. A gateway's pool must let
# go sooner, or it sends requests into connections that are just being closed. ARAGORA_KEEPALIVE.
keepalive = settings.keepalive

# 0: no worker is replaced because it served many requests. At a thousand a second a count of 1000 would replace each of
# four workers every four seconds, and its watchers and debates would move each time. A slow leak does not become an
# outage either: a worker that holds more than ARAGORA_MAX_MEMORY is replaced, at most once an hour (`drain`, below).
# ARAGORA_MAX_REQUESTS, ARAGORA_MAX_REQUESTS_JITTER.
max_requests = settings.max_requests
max_requests_jitter = settings.max_requests_jitter

# Bytes of a request line: what the gateway passes on (its max_request_line), and the most that gunicorn can be told.
limit_request_line = 8190

# Access log to standard output, all else to standard error: whoever started the server keeps them.
# ARAGORA_ACCESS_LOG, ARAGORA_LOG_LEVEL.
accesslog = settings.access_log
errorlog = "-"
loglevel = settings.log_level

# The common fields, the microseconds taken, then the client's address, the request's id and its trace as the gateway
# gave them: %(h)s is the gateway's own address.
access_log_format = (
    '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(D)s'
    ' "%({x-real-ip}i)s" %({x-request-id}o)s "%({traceparent}i)s"'
)

# What ps and top show, where the `setproctitle` package is installed. ARAGORA_PROC_NAME.
proc_name = settings.proc_name

# For `kill -HUP $(cat ...)`; supervisors that know the process need none. ARAGORA_PIDFILE.
pidfile = settings.pidfile or None

# Off: HUP, the everyday way to deploy, then loads new code, because each new worker imports it afresh; the master has
# loaded the libraries for all of them (`on_starting`, below). On: the master imports the application too and its
# workers share that memory, but HUP goes on with the old code and only USR2 (a new master) brings the new.
# ARAGORA_PRELOAD=1 or gunicorn's --preload.
preload_app = settings.preload or "--preload" in sys.argv

if preload_app:
    patch()
else:
    forget_the_application()

# Whose X-Forwarded-Proto is believed: the gateway on this machine. Another one is named, comma separated, by
# ARAGORA_FORWARDED_ALLOW_IPS.
forwarded_allow_ips = settings.forwarded_allow_ips

# gunicorn lets those callers set SCRIPT_NAME and PATH_INFO by header; nobody needs it here, so nobody may.
forwarder_headers = ""

# The heartbeat file in memory: on a busy disk a write can stall long enough to look like a blocked worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn unlinks it at once

# Off: it runs an event loop in a thread of the master, which forks, and its default path is one per user, so
# that two servers of one user fight for it. Signals do all that it offers.
control_socket_disable = True


def on_starting(server: Arbiter) -> None:
    """Load every library once, so that a worker starts with the application's own modules left to import.

    Two thirds of a worker's start would go to libraries, and while all start at once the others wait for the
    processors. Nothing happens at import time, so there is nothing that a fork could break.
    """
    import gc

    patch()

    from aragora.server import process, wsgi  # noqa: F401
    from aragora.server.succession import Succession, rehearsed
    from aragora.storage import load_driver

    load_driver(settings)
    server.succession = Succession()
    server.libraries = libraries()
    # HUP with a mistake in the settings or in the code would end the master, and the service with it.
    server.reload = rehearsed(server, ("aragora.server.wsgi", "aragora.server.process"))
    if not preload_app:
        forget_the_application()
    # What all workers share they need not look through, nor copy.
    gc.collect()
    gc.freeze()


def on_reload(server: Arbiter) -> None:
    """HUP: name the workers to come, so that the old ones can wait for them."""
    server.succession.begin(server.worker_age, server.cfg.workers)
    if libraries() != server.libraries:
        server.log.warning("libraries were changed, which HUP does not bring: replace the master by USR2 or a restart")


def libraries() -> frozenset[tuple[str, str]]:
    """The installed libraries and their versions, as they are on the disk now."""
    from importlib import metadata

    return frozenset((found.name, found.version) for found in metadata.distributions() if found.name != "aragora")


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Hand the worker what it shares with the others."""
    worker.succession = server.succession


def post_worker_init(worker: Worker) -> None:
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


def leave_to_successors(worker: Worker) -> None:
    """End this worker once those of a reload serve; at once where none are to come."""
    import gevent

    given_up = time.monotonic() + SUCCESSION_SECONDS
    while not worker.succession.complete(worker.age) and time.monotonic() < given_up:
        gevent.sleep(DRAIN_CHECK_SECONDS)
    worker.alive = False


def drain(worker: Worker) -> None:
    """Hand everything over as soon as the worker is to go: by TERM, HUP, after its last request, or grown too large.

    gunicorn tells its hooks of QUIT only, and waits for every open connection first: WebSockets would hold
    the worker for the whole graceful timeout, and its debates with it.
    """
    import gevent

    from aragora.server import process
    from aragora.server.succession import MEBIBYTE, Allowance

    allowance = Allowance(settings.max_memory, LEAST_LIFE_SECONDS)
    looked = time.monotonic()
    while worker.alive:
        gevent.sleep(DRAIN_CHECK_SECONDS)
        if time.monotonic() - looked >= MEMORY_CHECK_SECONDS:
            looked = time.monotonic()
            if held := allowance.exceeded():
                worker.log.info("replaced at %d MiB, over ARAGORA_MAX_MEMORY", held // MEBIBYTE)
                worker.alive = False
    process.stop(graceful_timeout)


def worker_int(_worker: Worker) -> None:
    """QUIT or INT: stop now."""
    from aragora.server import process

    process.stop(0)


def worker_exit(_server: Arbiter, worker: Worker) -> None:
    """Whatever ended the worker, it leaves nothing behind. The master calls it too, for a vanished worker."""
    process = sys.modules.get("aragora.server.process")
    if process is not None and worker.pid == os.getpid():
        process.discard()
