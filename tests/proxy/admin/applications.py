"""An application behind the gateway: says its name, may be unready, and holds requests until it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.ports import ports
from tests.serving import serving


class Application(ThreadingHTTPServer):
    """Answers every path with its name; `/ready` by its state, `/hold` when released, `/fail` with 500."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.name = name
        self.ready = True
        self.drops = 0
        """Requests whose connection it closes without a word."""
        self.probed = threading.Semaphore(0)
        self.held = threading.Semaphore(0)
        self.released = threading.Event()
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that the gateway closed is nothing to report."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Application

    def do_GET(self) -> None:
        status = 200
        if self.server.drops:
            self.server.drops -= 1
            self.close_connection = True
            return
        if self.path == "/ready":
            status = 200 if self.server.ready else 503
            self.server.probed.release()
        elif self.path == "/hold":
            self.server.held.release()
            self.server.released.wait(30)
        elif self.path.startswith("/fail"):
            status = 500
        body = self.server.name.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_arguments: object) -> None:
        return


@contextmanager
def application(name: str) -> Iterator[Application]:
    """One that runs."""
    with serving(Application(name)) as running:
        try:
            yield running
        finally:
            running.released.set()


def unused_address() -> str:
    """Where nobody listens."""
    return f"127.0.0.1:{ports(1)[0]}"
