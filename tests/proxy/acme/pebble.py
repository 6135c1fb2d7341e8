"""Pebble, Let's Encrypt's small ACME server, and one that refuses what it is told to."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import requests

from tests.ports import ports
from tests.proxy.authority import Authority
from tests.serving import serving
from tests.waiting import until

NAME = "localhost"
"""The one name that leads here without a DNS of our own."""


@dataclass
class Pebble:
    """A server that is ready; it validates at these ports of this machine."""

    directory: str
    ca: Path
    management: str
    http_port: int
    tls_port: int

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of a gateway that obtains its certificates here."""
        return ("--acme-directory", self.directory, "--acme-ca", str(self.ca))

    def trust(self) -> ssl.SSLContext:
        """What a client needs to be content with a certificate that was obtained here."""
        return ssl.create_default_context(cadata=self.issuer().decode())

    def issuer(self) -> bytes:
        """Its root, which is another at each start (PEM)."""
        return requests.get(f"{self.management}/roots/0", verify=str(self.ca), timeout=20).content


@contextlib.contextmanager
def pebble(
    authority: Authority,
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    name_server: str = "",
    **environment: str,
) -> Iterator[Pebble]:
    """Run it. `settings` are those of its file; `environment` has others, such as PEBBLE_WFE_NONCEREJECT.

    It asks `name_server` for names, if one is given.
    """
    listening, management, http_port, tls_port = ports(4)
    cert, key = authority.issue("127.0.0.1", file="pebble")
    config = folder / "pebble.json"
    addresses = {"listenAddress": f"127.0.0.1:{listening}", "managementListenAddress": f"127.0.0.1:{management}"}
    config.write_text(json.dumps({"pebble": {
        **addresses, "certificate": str(cert), "privateKey": str(key), "httpPort": http_port, "tlsPort": tls_port,
        "ocspResponderURL": "", "externalAccountBindingRequired": False, **(settings or {})}}))  # fmt: skip
    command = ["pebble", "-config", str(config), *(["-dnsserver", name_server] if name_server else [])]
    log = folder / "pebble.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", **environment})  # fmt: skip
    try:
        until(lambda: b"ACME directory available at" in log.read_bytes(), "pebble is ready")
        until(lambda: _listens(management), "pebble tells of its root")
        yield Pebble(
            f"https://127.0.0.1:{listening}/dir", authority.file, f"https://127.0.0.1:{management}", http_port, tls_port
        )
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Refusal:
    """What an authority answers to requests for a path; for orders that it does not refuse it makes `order`."""

    path: str
    status: int
    problem: str
    fields: dict[str, str] = field(default_factory=dict)
    order: dict[str, object] = field(default_factory=dict)


@contextlib.contextmanager
def refusing(refusal: Refusal) -> Iterator[str]:
    """An authority that makes accounts and refuses the rest; its directory's URL."""
    numbers = count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, document: object, **fields: str) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            kind = "application/json" if status < 400 else "application/problem+json"
            sent = {"Replay-Nonce": f"nonce{next(numbers):019}", "Content-Type": kind, "Content-Length": str(len(body))}
            for name, value in (sent | fields).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            base = f"http://127.0.0.1:{server.server_port}"
            if self.path == refusal.path:
                problem = {"type": f"urn:ietf:params:acme:error:{refusal.problem}", "detail": "as told\r\nto"}
                self.answer(refusal.status, problem, **refusal.fields)
            elif self.path == "/directory":
                paths = {"newNonce": "/nonce", "newAccount": "/account", "newOrder": "/order"}
                self.answer(200, {name: base + path for name, path in paths.items()})
            elif self.path == "/account":
                self.answer(201, {"status": "valid"}, Location=f"{base}/account/1")
            elif self.path == "/order":
                self.answer(201, refusal.order, Location=f"{base}/order/1")
            else:
                self.answer(200, {})

        do_HEAD = do_POST = do_GET  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/directory"
