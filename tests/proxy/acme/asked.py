"""The operator's service that says for which names certificates are obtained on demand."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.serving import serving


@dataclass
class Asked:
    """It runs. What it says can be changed at any time."""

    url: str = ""
    allowed: set[str] = field(default_factory=set)
    status: int = 0
    """What it answers in any case; 0: what `allowed` has."""
    questions: list[str] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    """Cleared, it keeps all callers waiting."""
    wrap: Callable[[ssl.SSLContext], None] = lambda _context: None
    """From now on it speaks TLS."""


@contextlib.contextmanager
def asked(*allowed: str) -> Iterator[Asked]:
    """Run it."""
    said = Asked(allowed=set(allowed))
    said.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = urlsplit(self.path)
            [name] = parse_qs(found.query)["domain"]
            said.questions.append(name)
            said.may_answer.wait(20)
            good = found.path == "/allowed" and name in said.allowed
            self.send_response(said.status or (200 if good else 403))
            self.send_header("Location", said.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        said.wrap = lambda context: setattr(server, "socket", context.wrap_socket(server.socket, server_side=True))
        said.url = f"http://127.0.0.1:{server.server_port}/allowed"
        try:
            yield said
        finally:
            said.may_answer.set()
