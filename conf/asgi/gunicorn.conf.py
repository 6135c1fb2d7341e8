"""gunicorn with ASGI workers: `gunicorn -c conf/asgi/gunicorn.conf.py` is all it takes.

Its own worker, or uvicorn's with `--worker-class uvicorn_worker.UvicornWorker`. The variables are those of
conf/gunicorn.conf.py, where each value has its reason; here stands what differs.
"""

import sys
from pathlib import Path

from aragora.errors import SettingsError
from aragora.server import succession
from aragora.server.sizing import loop_count
from aragora.settings import load

try:
    settings = load()
except SettingsError as error:
    sys.exit(f"Error: {error}")

wsgi_app = "aragora.server.asgi:application"
bind = list(dict.fromkeys([settings.bind, settings.ws_bind]))
worker_class = "asgi"

# One event loop is one core's worth of work; a number in ARAGORA_WORKERS or ARAGORA_WORKLOAD overrides it.
workers = loop_count(settings)

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
    succession.forget_the_application()

forwarded_allow_ips = settings.forwarded_allow_ips
forwarder_headers = ""
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn unlinks it at once
control_socket_disable = True
