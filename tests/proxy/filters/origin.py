"""An application behind the gateway: it tells what it was asked, and answers in every form of body."""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.serving import serving

BODY = json.dumps([{"number": number, "text": "again and again"} for number in range(100)]).encode()
LONG = BODY * 40
"""More than is compressed in one go."""

NOISE = random.Random(1).randbytes(6_000_000).hex().encode()
"""More than sockets hold, even at half its size."""

NOISE_TAKEN = threading.Semaphore(0)
"""Released when all of it has been written."""

EVENTS = threading.Semaphore(0)
"""Released once for each event that `/events` may send."""


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/events":
            self._events()
        elif path == "/noise":
            self._whole(NOISE, "text/plain")
            NOISE_TAKEN.release()
        elif path == "/untyped":
            self._whole(BODY, "application/octet-stream")
        elif path == "/until-close":
            self._head("application/json", ("Connection", "close"))
            self.wfile.write(BODY)
            self.close_connection = True
        elif path in ("/short", "/long", "/cookie", "/own-cors"):
            more = {
                "/cookie": ("Set-Cookie", "a=1"),
                "/own-cors": ("Access-Control-Allow-Origin", "https://own.example"),
            }
            self._whole(LONG if path == "/long" else BODY, "application/json", more.get(path, ("ETag", '"v1"')))
        else:
            asked = {
                "path": self.path,
                "fields": {name.lower(): value for name, value in self.headers.items()},
                "port": self.connection.getsockname()[1],
            }
            self._whole(json.dumps(asked).encode(), "application/json", ("Server-Secret", "x"))

    do_HEAD = do_POST = do_GET  # noqa: N815 - the library's names

    def _whole(self, body: bytes, content_type: str, *more: tuple[str, str]) -> None:
        self._head(content_type, ("Content-Length", str(len(body))), *more)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _events(self) -> None:
        self._head("text/event-stream", ("Transfer-Encoding", "chunked"))
        for number in range(3):
            if not EVENTS.acquire(timeout=20):
                return
            event = b"data: %d\n\n" % number
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, content_type: str, *fields: tuple[str, str]) -> None:
        self.send_response(200)
        for name, value in (("Content-Type", content_type), *fields):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """The gateway's log has it."""


@contextmanager
def origin() -> Iterator[int]:
    """The application's port."""
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _Answers)) as server:
        yield server.server_port
