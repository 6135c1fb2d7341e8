"""Real servers behind the gateway, on ports of the kernel's choice."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.ports import ports
from tests.proxy.gateway import ROOT
from tests.reach import open_to_all
from tests.waiting import PATIENCE, until

APPLICATIONS = "tests.proxy.integration.applications"
GUNICORN = [
    sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "--graceful-timeout", "5",
    f"{APPLICATIONS}:wsgi", "--worker-class",
]  # fmt: skip
COMMANDS = {
    "sync": [*GUNICORN, "sync", "--workers", "2"],
    "gthread": [*GUNICORN, "gthread", "--threads", "8"],
    "gevent": [*GUNICORN, "gevent"],
    "uvicorn": [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "0", f"{APPLICATIONS}:asgi"],
}
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {folder}/files; default_type application/octet-stream; etag on; }}
}}
"""


class Upstream:
    """A server process; ended by close()."""

    def __init__(self, command: list[str], log: Path, port: int = 0) -> None:
        self.log = log
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        self.port = port or until(self._announced, f"{command[:4]} listens")
        until(self._accepts, f"{command[:4]} accepts")

    def _announced(self) -> int:
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.log.read_text())
        return int(found[1]) if found else 0

    def _accepts(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        """End it and what it forked; its process group is its own."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(PATIENCE / 2)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


def application(kind: str, folder: Path) -> Upstream:
    """gunicorn with one of its workers, or uvicorn."""
    return Upstream(COMMANDS[kind], folder / f"{kind}.log")


def nginx(folder: Path, files: dict[str, bytes]) -> Upstream:
    """nginx serving these files."""
    (folder / "files").mkdir(parents=True)
    for name, body in files.items():
        (folder / "files" / name).write_bytes(body)
    open_to_all(folder)  # its worker may have given up root
    (port,) = ports(1)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port))
    return Upstream(["nginx", "-c", str(config), "-p", str(folder)], folder / "nginx.log", port)
