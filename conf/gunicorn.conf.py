"""The application's server, gunicorn with gevent workers: `gunicorn -c conf/gunicorn.conf.py` is all it takes.

Every value stands with its reason; the variable named beside it overrides it without an edit, and gunicorn's
own flags override both. The file is read again on HUP.
"""

import os
import sys
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from aragora.errors import SettingsError
from aragora.settings import Settings, load

DRAIN_CHECK_SECONDS = 0.2


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

# A worker is replaced after this many requests, so that a slow leak never becomes an outage; the jitter keeps workers
# from being replaced together. 0 turns it off. ARAGORA_MAX_REQUESTS, ARAGORA_MAX_REQUESTS_JITTER.
max_requests = settings.max_requests
max_requests_jitter = settings.max_requests_jitter

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

# Off: HUP, the everyday way to deploy, then loads new code, because each new worker imports it afresh. On: the master
# imports it once and its workers share that memory, but HUP goes on with the old code and only USR2 (a new master)
# brings the new. ARAGORA_PRELOAD=1 or gunicorn's --preload.
preload_app = settings.preload or "--preload" in sys.argv

if preload_app:
    # gevent's worker patches after the fork: too late for an application that its master has imported already.
    from gevent import monkey

    monkey.patch_all()
else:
    # The master must not keep what this file imported: its next workers would mix old modules with new ones.
    for module in [name for name in sys.modules if name.partition(".")[0] == "aragora"]:
        del sys.modules[module]

# Whose X-Forwarded-Proto is believed: the gateway on this machine. Another one is named, comma separated, by
# ARAGORA_FORWARDED_ALLOW_IPS.
forwarded_allow_ips = settings.forwarded_allow_ips

# gunicorn lets those callers set SCRIPT_NAME and PATH_INFO by header; nobody needs it here, so nobody may.
forwarder_headers = ""

# The heartbeat file in memory: on a busy disk a write can stall long enough to look like a blocked worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  gunicorn unlinks it at once

# Off: it runs an event loop in a thread of the master, which forks, and its default path is one per user, so
# that two servers of one user fight for it. Signals do all that it offers.
control_socket_disable = True


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


def drain(worker: Worker) -> None:
    """Hand everything over as soon as the worker is to go: by TERM, HUP or after its last request.

    gunicorn tells its hooks of QUIT only, and waits for every open connection first: WebSockets would hold
    the worker for the whole graceful timeout, and its debates with it.
    """
    import gevent

    from aragora.server import process

    while worker.alive:
        gevent.sleep(DRAIN_CHECK_SECONDS)
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
