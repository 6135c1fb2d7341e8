"""Bare Debian machines: a root from debootstrap, systemd as process 1, and the two indexes of packages within reach.

Roots, packages of Debian and files of the Python index are kept from run to run in `var/cache/roots`; removing that
directory starts from nothing. A machine has no network but loopback: what answers there as Debian's mirror and as the
Python index is this process, which alone can reach the real ones and has the distribution under test in its index.
"""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import requests

from tests.deployment.machine import Machine, machine
from tests.deployment.processes import CHECKOUT

CACHE = CHECKOUT / "var" / "cache" / "roots"
MIRROR = "http://deb.debian.org/debian"
INDEX = "https://pypi.org/simple/"
FILES = "https://files.pythonhosted.org/"
BARE = "systemd,sudo"
"""What debootstrap adds to the least that is Debian."""
DISTRIBUTION = "aragora-gateway"
SECONDS = 900
# A socket of the machine's network, handed to this process: it accepts there and connects from here.
LISTEN = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
channel = socket.socket(fileno=0)
socket.send_fds(channel, [b"x"], [listener.fileno()])
"""


def root(suite: str) -> Path:
    """The root of a Debian, made at the first call on a machine."""
    place = CACHE / suite
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_suffix(".new")
        subprocess.run(["rm", "-rf", unfinished], check=True, timeout=60)
        command = ["debootstrap", "--variant=minbase", f"--include={BARE}", suite, str(unfinished), MIRROR]
        made = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
        assert made.returncode == 0, made.stdout[-4000:]
        unfinished.rename(place)
    return place


class Indexes(ThreadingHTTPServer):
    """Debian's mirror, as a proxy for apt, and the Python index, with the distribution of this wheel beside it."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, wheel: Path) -> None:
        super().__init__(listener.getsockname(), _Request, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.wheel = wheel


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Indexes

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if self.path.startswith("http://"):
            self._fetched(self.path, keep=self.path.endswith(".deb"))
        elif path == f"/simple/{DISTRIBUTION}/":
            name = self.server.wheel.name
            self._answer(200, f'<a href="/wheel/{quote(name)}">{name}</a>'.encode(), "text/html")
        elif path.startswith("/simple/"):
            found = requests.get(INDEX + path.removeprefix("/simple/"), timeout=60)
            self._answer(found.status_code, found.text.replace(FILES, "/files/").encode(), "text/html")
        elif path.startswith("/files/"):
            self._fetched(FILES + path.removeprefix("/files/"), keep=True)
        elif path.startswith("/wheel/") and unquote(path).endswith(self.server.wheel.name):
            self._answer(200, self.server.wheel.read_bytes(), "application/octet-stream")
        else:
            self._answer(404, b"", "text/plain")

    def _fetched(self, url: str, *, keep: bool) -> None:
        kept = CACHE / "files" / sha256(url.encode()).hexdigest()
        if keep and kept.exists():
            self._answer(200, kept.read_bytes(), "application/octet-stream")
            return
        found = requests.get(url, timeout=120)
        if keep and found.status_code == 200:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.with_suffix(f".{threading.get_ident()}").write_bytes(found.content)
            kept.with_suffix(f".{threading.get_ident()}").rename(kept)
        self._answer(found.status_code, found.content, found.headers.get("Content-Type", "application/octet-stream"))

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is written: a failure shows in what apt and pip say."""


def _listener(host: Machine) -> socket.socket:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = ["nsenter", "--target", str(host.process), "--net", sys.executable, "-c", LISTEN]
        subprocess.run(command, stdin=theirs, check=True, timeout=30)
        _, (descriptor, *_), _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=descriptor)


def pins() -> str:
    """The releases that are locked, without hashes, which pip would ask of the wheel too."""
    locked = (CHECKOUT / "conf/requirements/dev.txt").read_text()
    return "\n".join(re.findall(r"^\S+==[^\\\n]*", locked, re.MULTILINE)) + "\n"


@contextmanager
def bare_machine(suite: str, wheel: Path, overlay: Path) -> Iterator[Machine]:
    """A machine as an installer of Debian leaves it, with lists of packages that are up to date."""
    nothing = overlay / "mnt"
    nothing.mkdir(parents=True)
    with machine(overlay, root(suite), nothing) as host:
        listener = _listener(host)
        port = listener.getsockname()[1]
        server = Indexes(listener, wheel)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            write(host, "/etc/apt/apt.conf.d/00mirror", f'Acquire::http::Proxy "http://127.0.0.1:{port}";\n')
            write(
                host,
                "/etc/pip.conf",
                f"[global]\nindex-url = http://127.0.0.1:{port}/simple/\nconstraint = /etc/pins\n",
            )
            write(host, "/etc/pins", pins())
            host.run("apt-get", "--quiet", "update", seconds=SECONDS)
            yield host
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def write(host: Machine, path: str, text: str) -> None:
    """A file of the machine, and the directory that it is in."""
    command = host.command("sh", "-c", f'mkdir -p "$(dirname {path})" && cat >{path}')
    subprocess.run(command, input=text, text=True, check=True, timeout=30)
