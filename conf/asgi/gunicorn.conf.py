"""gunicorn with ASGI workers: `gunicorn -c conf/asgi/gunicorn.conf.py` is all it takes.

Its own worker, or uvicorn's with `--worker-class uvicorn_worker.UvicornWorker`. The variables are those of
conf/gunicorn.conf.py, where each value has its reason; here stands what differs.
"""

import os
import sys
from pathlib import Path

from aragora.errors import SettingsError
from aragora.settings import load

try:
    settings = load()
except SettingsError as error:
    sys.exit(f"Error: {error}")

wsgi_app = "aragora.server.asgi:application"
bind = list(dict.fromkeys([settings.bind, settings.ws_bind]))
worker_class = "asgi"

# One event loop is one core's worth of work; a number in ARAGORA_WORKERS or ARAGORA_WORKLOAD overrides it.
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
workers = settings.workers or (int(settings.workload) if settings.workload.isdecimal() else max(2, cores))

# Connections of one of gunicorn's own workers; uvicorn's has no such limit under gunicorn.
worker_connections = settings.worker_connections
timeout = settings.timeout
graceful_timeout = settings.graceful_timeout
keepalive = settings.keepalive
max_requests = settings.max_requests
max_requests_jitter = settings.max_requests_jitter

limit_request_line = 8190  # uvicorn's worker has no such limit

accesslog = settings.access_log
errorlog = "-"
loglevel = settings.log_level
proc_name = settings.proc_name
pidfile = settings.pidfile or None
preload_app = settings.preload or "--preload" in sys.argv

if not preload_app:
    # The master must not keep what this file imported: its next workers would mix old modules with new ones.
    for module in [name for name in sys.modules if name.partition(".")[0] == "aragora"]:
        del sys.modules[module]

forwarded_allow_ips = settings.forwarded_allow_ips
forwarder_headers = ""
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn unlinks it at once
control_socket_disable = True
