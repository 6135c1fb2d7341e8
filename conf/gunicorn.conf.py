"""The application's server, gunicorn with gevent workers: `gunicorn -c conf/gunicorn.conf.py` is all it takes.

Every value stands with its reason; the variable named beside it overrides it without an edit, and gunicorn's
own flags override both. The file is read again on HUP.
"""

import os
import sys
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

DRAIN_CHECK_SECONDS = 0.2


def text(name: str, default: str) -> str:
    """A variable's value; an empty one counts as not set, as compose files and env files write it."""
    return os.environ.get(name, "").strip() or default


def number(name: str, default: int) -> int:
    """A variable's value as a whole number; anything else stops the start with one line."""
    value = text(name, str(default))
    if not value.isdecimal():
        sys.exit(f"{name}={value!r}: a whole number is needed, such as {default}")
    return int(value)


def choice(name: str, default: str, known: tuple[str, ...]) -> str:
    value = text(name, default).lower()
    if value not in known:
        sys.exit(f"{name}={value!r}: one of {', '.join(known)} is needed")
    return value


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
    if workload in formulas:
        return formulas[workload]
    if workload.isdecimal() and int(workload) > 0:
        return int(workload)
    sys.exit(f"ARAGORA_WORKLOAD={workload!r}: cpu, io, mixed or a number of workers above 0 is needed")


production = choice("ARAGORA_ENV", "development", ("development", "production", "test")) == "production"

# What is served: also the answer to `gunicorn -c conf/gunicorn.conf.py` without an application's name.
wsgi_app = "aragora.server.wsgi:application"

# 8080 takes HTTP, 8766 is the public WebSocket address; both serve the same application, so either may be
# used alone. Loopback: the gateway in front is the only caller that should reach it. ARAGORA_BIND, comma
# separated.
bind = [address.strip() for address in text("ARAGORA_BIND", "127.0.0.1:8080,127.0.0.1:8766").split(",")]

# A debate waits for its models nearly all of its life, hence `io`. ARAGORA_WORKLOAD.
workers = worker_count(text("ARAGORA_WORKLOAD", "io").lower())

# A greenlet per connection: WebSockets and long polls wait without holding a thread.
worker_class = "gevent"

# Connections of one worker, idle ones of the gateway's pool included; further ones wait in the listen queue.
worker_connections = number("ARAGORA_WORKER_CONNECTIONS", 1000)

# With gevent this bounds how long the event loop may be blocked, not how long a request may take. Seconds.
timeout = number("ARAGORA_TIMEOUT", 300 if production else 120)

# What TERM, HUP and a recycled worker grant requests in flight; debates are handed over at once. Seconds.
graceful_timeout = number("ARAGORA_GRACEFUL_TIMEOUT", 30 if production else 10)

# Idle seconds before a kept connection is closed; it bounds the whole next request head too. A gateway's pool
# must let go sooner (ours does at 4 s), or it sends requests into connections that are just being closed.
keepalive = number("ARAGORA_KEEPALIVE", 5)

# A worker is replaced after this many requests, so that a slow leak never becomes an outage; the jitter keeps
# workers from being replaced together. 0 turns it off. ARAGORA_MAX_REQUESTS, ARAGORA_MAX_REQUESTS_JITTER.
max_requests = number("ARAGORA_MAX_REQUESTS", 1000)
max_requests_jitter = number("ARAGORA_MAX_REQUESTS_JITTER", 50)

# Access log to standard output, all else to standard error: the supervisor keeps them. ARAGORA_LOG_LEVEL.
accesslog = "-"
errorlog = "-"
loglevel = choice("ARAGORA_LOG_LEVEL", "info", ("debug", "info", "warning", "error", "critical"))

# The common fields, the microseconds taken, then the client's address and the request's id as the gateway
# gave them: %(h)s is the gateway's own address.
access_log_format = (
    '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(D)s'
    ' "%({x-forwarded-for}i)s" %({x-request-id}i)s'
)

# What ps and top show, where the `setproctitle` package is installed. ARAGORA_PROC_NAME.
proc_name = text("ARAGORA_PROC_NAME", "aragora")

# For `kill -HUP $(cat ...)`; supervisors that know the process need none. ARAGORA_PIDFILE.
pidfile = text("ARAGORA_PIDFILE", "") or None

# Off: HUP, the everyday way to deploy, then loads new code, because each new worker imports it afresh. On:
# the master imports it once and its workers share that memory, but HUP goes on with the old code and only
# USR2 (a new master) brings the new. ARAGORA_PRELOAD=1 or gunicorn's --preload.
preload_app = choice("ARAGORA_PRELOAD", "0", ("0", "1")) == "1" or "--preload" in sys.argv

# gevent's worker patches after the fork: too late for an application its master has imported already.
if preload_app:
    from gevent import monkey

    monkey.patch_all()

# Whose X-Forwarded-Proto is believed: the gateway on this machine. ARAGORA_FORWARDED_ALLOW_IPS or gunicorn's
# own FORWARDED_ALLOW_IPS names another one, comma separated.
forwarded_allow_ips = text("ARAGORA_FORWARDED_ALLOW_IPS", text("FORWARDED_ALLOW_IPS", "127.0.0.1,::1"))

# gunicorn lets those callers set SCRIPT_NAME and PATH_INFO by header; nobody needs it here, so nobody may.
forwarder_headers = ""

# The heartbeat file in memory: on a busy disk a write can stall long enough to look like a blocked worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  gunicorn unlinks it at once

# Off: it runs an event loop in a thread of the master, which forks, and its default path is one per user, so
# that two servers of one user fight for it. Signals do all that it offers.
control_socket_disable = True


def post_worker_init(worker: Worker) -> None:
    """Start the debates of this process, and watch for the end of its life."""
    import gevent

    from aragora.server import process

    process.start()
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
    if worker.pid != os.getpid():
        return
    from aragora.server import process

    process.stop(0)
