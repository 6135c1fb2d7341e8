"""The upstream of every proxy: nginx for HTTP, the echo for WebSockets. Both on the load generator's core."""

import os
import sys
from pathlib import Path

from benchmark.process import Server, free_port, start

SIZES = {"1k": 1024, "64k": 64 * 1024, "10m": 10 * 1024 * 1024}

CONFIG = """
worker_processes 1; daemon off; pid {folder}/origin.pid; error_log {folder}/origin-error.log crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
  access_log off; sendfile on; tcp_nopush on; etag off;
  client_max_body_size 100m; client_body_temp_path {folder}/origin-body; proxy_temp_path {folder}/origin-proxy;
  fastcgi_temp_path {folder}/origin-f; uwsgi_temp_path {folder}/origin-u; scgi_temp_path {folder}/origin-s;
  keepalive_requests 100000000; keepalive_timeout 300s; open_file_cache max=16;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {folder}/files;
    default_type application/octet-stream;
    location = /post {{ return 200 "accepted"; }}
    location = /upload {{
      client_body_buffer_size 16m;
      proxy_pass http://127.0.0.1:{port}/post;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
  }}
}}
"""


def http(folder: Path, core: int) -> Server:
    """nginx serving /1k, /64k and /10m. It answers /post at once, and /upload when it has the whole body in memory."""
    files = folder / "files"
    files.mkdir()
    for name, size in SIZES.items():
        (files / name).write_bytes(os.urandom(size))
    folder.chmod(0o755)
    port = free_port()
    config = folder / "origin.conf"
    config.write_text(CONFIG.format(folder=folder, port=port))
    return start("origin", port, ["nginx", "-c", str(config), "-p", str(folder)], folder=folder, core=core)


def websocket(folder: Path, core: int) -> Server:
    """The WebSocket echo."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("echo.py")), str(port)]
    return start("echo", port, command, folder=folder, core=core)
