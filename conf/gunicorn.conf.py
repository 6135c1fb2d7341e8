"""The application's server, gunicorn with gevent workers: `gunicorn -c conf/gunicorn.conf.py` is all it takes.

Every value stands with its reason; the variable named beside it overrides it without an edit, and gunicorn's
own flags override both. The file is read again on HUP.
"""

import sys
from pathlib import Path

from aragora.errors import SettingsError
from aragora.server import succession
from aragora.server.sizing import cores, worker_count  # noqa: F401 - `cores` for an edit of `workers`
from aragora.settings import load

try:
    settings = load()
except SettingsError as error:
    sys.exit(f"Error: {error}")

# What is served: also the answer to `gunicorn -c conf/gunicorn.conf.py` without an application's name.
wsgi_app = "aragora.server.wsgi:application"

# The first takes HTTP, the second is the public WebSocket address; both serve the same application. Loopback: the
# gateway in front is the only caller that should reach it. ARAGORA_BIND, ARAGORA_WS_BIND.
bind = list(dict.fromkeys([settings.bind, settings.ws_bind]))

# Waiting for models costs a greenlet, not a worker; a statement of SQLite stops its whole worker for its moment. Hence
# `mixed`: two for each core keep the core busy meanwhile, and nowhere is there only one, which would leave none to
# serve while it is replaced. ARAGORA_WORKLOAD, ARAGORA_WORKERS.
workers = worker_count(settings)

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
# outage either: a worker that holds more than ARAGORA_MAX_MEMORY is replaced, at most once an hour.
# ARAGORA_MAX_REQUESTS, ARAGORA_MAX_REQUESTS_JITTER.
max_requests = settings.max_requests
max_requests_jitter = settings.max_requests_jitter

# Bytes of a request line: what the gateway passes on (its max_request_line), and the most that gunicorn can be told.
limit_request_line = 8190

# Access log to standard output, all else to standard error: the supervisor of the server keeps them.
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
# loaded the libraries for all of them. On: the master imports the application too and its workers share that memory,
# but HUP goes on with the old code and only USR2 (a new master) brings the new.
# ARAGORA_PRELOAD=1 or gunicorn's --preload.
preload_app = settings.preload or "--preload" in sys.argv

if preload_app:
    succession.patch()
else:
    succession.forget_the_application()

# Whose X-Forwarded-Proto is believed: the gateway on this machine. Another one is named, comma separated, by
# ARAGORA_FORWARDED_ALLOW_IPS.
forwarded_allow_ips = settings.forwarded_allow_ips

# gunicorn lets those callers set SCRIPT_NAME and PATH_INFO by header; it is not needed here, so it is off.
forwarder_headers = ""

# The heartbeat file in memory: on a busy disk a write can stall long enough to look like a blocked worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn unlinks it at once

# Off: it runs an event loop in a thread of the master, which forks, and its default path is one per user, so
# that two servers of one user fight for it. Signals do all that it offers.
control_socket_disable = True

# How the master begins and reloads, and when a worker leaves: an old one not before those of a reload serve.
on_starting = succession.on_starting
on_reload = succession.on_reload
pre_fork = succession.pre_fork
post_worker_init = succession.post_worker_init
worker_int = succession.worker_int
worker_exit = succession.worker_exit
