"""What pebble lacks, in front of it: renewal information (RFC 9773) and profiles. Everything else is pebble's."""

import base64
import contextlib
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from tests.proxy.acme.pebble import Pebble
from tests.proxy.authority import Authority
from tests.serving import serving

_PASSED_ON = ("Content-Type", "Replay-Nonce", "Location", "Link", "Retry-After")


@dataclass
class Front:
    """A server that is ready. What it says can be changed at any time."""

    directory: str = ""
    window: tuple[str, str] | None = None
    """When certificates are to be renewed; None: no such information is offered."""
    retry_after: str = ""
    profiles: dict[str, str] = field(default_factory=dict)
    conflict: bool = False
    """Whether an order that replaces a certificate is refused (section 5)."""
    orders: list[dict[str, Any]] = field(default_factory=list)
    """What was ordered."""
    asked: list[str] = field(default_factory=list)
    """The certificates that renewal information was asked for."""


@contextlib.contextmanager
def front(authority: Authority, server: Pebble) -> Iterator[Front]:
    """Run it."""
    said = Front()
    behind = server.directory.removesuffix("/dir")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, body: bytes, fields: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**fields, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.startswith("/renewal/") and said.window is not None:
                said.asked.append(self.path.removeprefix("/renewal/"))
                window = {"start": said.window[0], "end": said.window[1]}
                wait = {"Retry-After": said.retry_after} if said.retry_after else {}
                document = json.dumps({"suggestedWindow": window}).encode()
                self.answer(200, document, {"Content-Type": "application/json", **wait})
                return
            if self.path == "/order-plz":
                payload = json.loads(body)["payload"]
                said.orders.append(json.loads(base64.urlsafe_b64decode(payload + "===")))
                if said.conflict and "replaces" in said.orders[-1]:
                    problem = b'{"type": "urn:ietf:params:acme:error:alreadyReplaced", "detail": "it is"}'
                    self.answer(409, problem, {"Content-Type": "application/problem+json"})
                    return
            passed = {name: self.headers[name] for name in ("Host", "Content-Type") if name in self.headers}
            response = requests.request(
                self.command, behind + self.path, data=body, headers=passed, verify=str(server.ca), timeout=30
            )
            content = response.content
            if self.path == "/dir":
                content = self.directory(json.loads(content))
            fields = {name: response.headers[name] for name in _PASSED_ON if name in response.headers}
            self.answer(response.status_code, content, fields)

        do_HEAD = do_POST = do_GET  # noqa: N815 - the library's names

        def directory(self, document: dict[str, Any]) -> bytes:
            if said.window is not None:
                document["renewalInfo"] = said.directory.removesuffix("/dir") + "/renewal"
            document["meta"]["profiles"] = said.profiles
            return json.dumps(document).encode()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    cert, key = authority.issue("127.0.0.1", file="front")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    with serving(listening):
        said.directory = f"https://127.0.0.1:{listening.server_port}/dir"
        yield said
