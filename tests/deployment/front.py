"""nginx with the file that is shipped, before real gunicorns: only ports and paths are exchanged."""

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import program
from tests.deployment.processes import CHECKOUT, Running, accepts, ports
from tests.waiting import until

SHIPPED = CHECKOUT / "conf" / "nginx" / "aragora.conf"
MAIN = """{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/aragora.conf;
}}
"""


@dataclass(frozen=True)
class Frontend:
    """A running nginx."""

    plain: int
    tls: int
    certificate: Path
    log: Path


def certificate(directory: Path, name: str = "api.aragora.ai") -> tuple[Path, Path]:
    """A certificate for the name and for loopback, and its key."""
    made, key = directory / "aragora.crt", directory / "aragora.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"]
    subprocess.run([*command, *subject, "-out", made, "-keyout", key], check=True, capture_output=True, timeout=60)
    return made, key


def replaced(text: str, changes: dict[str, str]) -> str:
    """The text with every change made; one that does not apply is an error."""
    for old, new in changes.items():
        assert old in text, f"{SHIPPED.name} has no {old!r}"
        text = text.replace(old, new)
    return text


def rendered(directory: Path, http: int, ws: int, more: dict[str, str]) -> Frontend:
    """Write nginx' files."""
    plain, tls = ports(2)
    made, key = certificate(directory)
    changes = {
        "server 127.0.0.1:8080;": f"server 127.0.0.1:{http};",
        "server 127.0.0.1:8766;": f"server 127.0.0.1:{ws};",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{tls} ssl http2;",
        "/etc/ssl/certs/aragora.crt": str(made),
        "/etc/ssl/private/aragora.key": str(key),
        "/var/log/nginx/aragora.log": str(directory / "access.log"),
        "/var/www/letsencrypt": str(directory),
    }
    (directory / "aragora.conf").write_text(replaced(SHIPPED.read_text(), changes | more))
    user = "user root;" if os.geteuid() == 0 else ""  # whose workers may use the test's directory
    (directory / "nginx.conf").write_text(MAIN.format(directory=directory, user=user))
    return Frontend(plain, tls, made, directory / "access.log")


@contextmanager
def nginx(directory: Path, http: int, ws: int, more: dict[str, str] | None = None) -> Iterator[Frontend]:
    """The shipped configuration before an application on these ports; `more` are further exchanges of text."""
    front = rendered(directory, http, ws, more or {})
    command = (program("nginx") or "nginx", "-p", str(directory), "-c", str(directory / "nginx.conf"))
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr
    assert not re.search("warn|emerg", checked.stderr), checked.stderr
    with Running(*command, log=directory / "nginx.log") as running:
        until(lambda: running.process.poll() is None and accepts(front.tls), f"nginx\n{running.output()}")
        yield front


class Counter:
    """Relays bytes to an application and counts the connections that are made to it."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                self.connections += 1
                far = socket.create_connection(("127.0.0.1", self.target))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def __enter__(self) -> "Counter":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
