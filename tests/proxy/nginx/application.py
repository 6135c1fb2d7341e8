"""An application behind both servers: it reads bodies, and answers with what it was asked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.serving import serving

FIELDS = ("host", "x-forwarded-proto", "x-real-ip", "x-forwarded-for", "x-tenant", "x-uri")


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        left = length
        while left:
            left -= len(self.rfile.read(min(left, 65536)))
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            # RFC 6455 section 1.3: the answer to the key that the tests send
            self.send_header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            self.end_headers()
            self.close_connection = True
            return
        seen = {name: self.headers.get(name) for name in FIELDS}
        asked = {"name": self.name, "method": self.command, "path": self.path, "length": length, "fields": seen}
        body = json.dumps(asked | {"padding": "." * 3000}).encode()
        refused = self.name == "third" and self.headers.get("Authorization") != "Bearer good"
        self.send_response(401 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Server-Secret", "x")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def application(name: str) -> Iterator[int]:
    """One that calls itself by that name; its port."""
    kind = type("Named", (_Answers,), {"name": name})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), kind)) as server:
        yield server.server_port
