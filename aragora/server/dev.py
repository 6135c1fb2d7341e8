"""The development server: the WSGI application on the standard library's ThreadingHTTPServer.

One thread per connection, new code at each save, tracebacks in answers: made for one developer, and it refuses to be
anything else. A reload never refuses a connection: the listening socket stays with the watching parent, its child
serves it.
"""

import io
import ipaddress
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any, cast
from urllib.parse import unquote

import aragora
from aragora.errors import SettingsError
from aragora.server import forwarding, process, wsgi
from aragora.server.context import KEY, RequestContext
from aragora.settings import Settings

log = logging.getLogger("aragora.server.dev")

IDLE_SECONDS = 30
LOOK_SECONDS = 0.5
DRAIN_SECONDS = 5.0
MOST_DRAINED = 1 << 20
"""Bytes of a body that the application did not want which are read to keep the connection."""
NOT_PUBLIC = "the development server is not for the internet"
WATCHED = frozenset({".py", ".html", ".css", ".js", ".svg"})


class Body(io.RawIOBase):
    """The request's body: as many bytes as Content-Length says."""

    def __init__(self, source: Any, length: int) -> None:
        self._source = source
        self.remaining = length

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes of what is left."""
        wanted = self.remaining if size is None or size < 0 else min(size, self.remaining)
        data: bytes = self._source.read(wanted) if wanted else b""
        self.remaining = 0 if len(data) < wanted else self.remaining - len(data)
        return data

    def drain(self, most: int) -> bool:
        """Drop what the application left if that is not over `most` bytes; whether nothing is left."""
        if self.remaining <= most:
            self.read()
        return not self.remaining


class Connection(BaseHTTPRequestHandler):
    """One kept connection and its requests."""

    protocol_version = "HTTP/1.1"
    server_version = "aragora-dev"
    sys_version = ""
    timeout = IDLE_SECONDS
    # Answers are written in two pieces; without this the second waits for the client's acknowledgement.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """One line a request."""
        log.info("%s %s", self.address_string(), format % args)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what the standard library cannot read, in the one error shape."""
        status = HTTPStatus(code)
        text = message or explain or status.description or status.phrase
        error = {"code": status.name.lower(), "message": text, "trace_id": uuid.uuid4().hex}
        content = json.dumps({"error": error}).encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def answer(self) -> None:
        """Hand one request to the application."""
        framing = self.headers.get("Transfer-Encoding")
        lengths = self.headers.get_all("Content-Length") or ["0"]
        if framing is not None or len(lengths) > 1 or not lengths[0].isdecimal():
            self.send_error(411 if framing is not None else 400)
            return
        body = Body(self.rfile, int(lengths[0]))
        environ = self._environ(body, lengths[0])
        if forwarding.names_global_client(environ):
            log.warning("a client behind %s turned away: %s", self.client_address[0], NOT_PUBLIC)
            self.send_error(403, f"{NOT_PUBLIC}: use gunicorn -c conf/gunicorn.conf.py")
            return
        answer = Answer(self)
        parts: Iterable[bytes] = ()
        try:
            parts = wsgi.application(environ, answer.start)
            if RequestContext.of(environ).upgraded:
                self.close_connection = True
                return
            if not body.drain(MOST_DRAINED):
                self.close_connection = True
            answer.send(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        if answer.ends_with_connection:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - found by name

    def _environ(self, body: Body, length: str) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        host, port = cast(tuple[str, int], self.server.server_address)[:2]
        environ = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "RAW_URI": self.path,
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": self.request_version,
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": length,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": body,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            KEY: RequestContext(debug=True, connection=self.connection),
        }
        for name, value in self.headers.items():
            key = "HTTP_" + name.upper().replace("-", "_")
            # A name with an underscore could pass for another one; gunicorn drops it as well.
            if "_" not in name and key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
                environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


class Answer:
    """What the application answers, framed for HTTP/1.1."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._status = 500
        self._headers: list[tuple[str, str]] = []
        self.ends_with_connection = False

    def start(self, status: str, headers: list[tuple[str, str]], error: object = None) -> None:
        """WSGI's start_response; nothing is written before the body's first part."""
        del error
        self._status = int(status[:3])
        self._headers = headers

    def send(self, parts: Iterable[bytes]) -> None:
        """Write head and body; a body of unknown length is chunked, or ends with an HTTP/1.0 connection."""
        connection = self._connection
        known = any(name.lower() == "content-length" for name, _ in self._headers)
        bodiless = connection.command == "HEAD" or self._status in (204, 304)
        chunked = not known and not bodiless and connection.request_version == "HTTP/1.1"
        self.ends_with_connection = not known and not bodiless and not chunked
        connection.send_response(self._status)
        for name, value in self._headers:
            connection.send_header(name, value)
        if chunked:
            connection.send_header("Transfer-Encoding", "chunked")
        if connection.close_connection:
            # Said, not only done: a client would send its next request into the closing.
            connection.send_header("Connection", "close")
        connection.end_headers()
        for part in parts:
            if not part or bodiless:
                continue
            connection.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        if chunked:
            connection.wfile.write(b"0\r\n\r\n")


class Server(ThreadingHTTPServer):
    """Serves a socket that is listening already."""

    daemon_threads = True

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname()[:2], Connection, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_address = listener.getsockname()[:2]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Turn away clients of the internet, whatever address we were bound to: we show tracebacks."""
        del request
        if forwarding.is_global(client_address[0]):
            log.warning("%s turned away: %s", client_address[0], NOT_PUBLIC)
            return False
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no event; everything else is."""
        del request
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError | TimeoutError):
            log.debug("%s is gone: %s", client_address, error)
        else:
            log.error("connection of %s failed", client_address, exc_info=error)


def serve(settings: Settings, *, reload: bool = True) -> None:
    """Serve `ARAGORA_BIND` until Ctrl-C or TERM; raises `SettingsError` for an address that must not or cannot be."""
    with listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        print(f"Aragora (development server) on http://{host}:{port}  Ctrl-C ends it", flush=True)
        try:
            if reload:
                _watch(listener)
            else:
                run(listener)
        except KeyboardInterrupt:
            pass


def listen(settings: Settings) -> socket.socket:
    """A listening socket at the address of the settings."""
    host, _, port = settings.bind.rpartition(":")
    host = host.strip("[]")
    if settings.bind.startswith("unix:"):
        raise SettingsError("ARAGORA_BIND: the development server takes HOST:PORT only, as 127.0.0.1:8080")
    if settings.production and not _is_loopback(host):
        raise SettingsError(
            f"ARAGORA_BIND={settings.bind}: the development server serves loopback only under "
            "ARAGORA_ENV=production; use gunicorn -c conf/gunicorn.conf.py"
        )
    try:
        return socket.create_server(
            (host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        raise SettingsError(
            f"ARAGORA_BIND={settings.bind}: {error.strerror or error}; stop what listens there, or name another port"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(listener: socket.socket) -> None:
    """Serve in this process until TERM or Ctrl-C."""
    process.start()
    server = Server(listener)

    def end(_number: int, _frame: FrameType | None) -> None:
        # shutdown() waits for the loop that this handler has interrupted.
        threading.Thread(target=server.shutdown, daemon=True).start()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        process.discard()
        server.socket.close()


def _watch(listener: socket.socket) -> None:
    """Serve in a child and replace it whenever a file of the package changes."""
    signal.signal(signal.SIGTERM, _interrupt)
    known = dict(_files())
    child = _spawn(listener)
    try:
        while True:
            time.sleep(LOOK_SECONDS)
            found = dict(_files())
            if found != known:
                changed = sorted(path.name for path in found.keys() ^ known.keys()) or sorted(
                    path.name for path, stamp in found.items() if known.get(path) != stamp
                )
                print(f"{', '.join(changed[:5])} changed: reloading", flush=True)
                known = found
                _end(child)
                child = _spawn(listener)
            elif child.poll() is not None:
                # A mistake in the code: the child has said which; the next save is the next try.
                while dict(_files()) == known:
                    time.sleep(LOOK_SECONDS)
    finally:
        _end(child)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _files() -> Iterator[tuple[Path, int]]:
    for path in Path(aragora.__file__).parent.rglob("*"):
        if path.suffix in WATCHED:
            try:
                yield path, path.stat().st_mtime_ns
            except FileNotFoundError:
                continue


def _spawn(listener: socket.socket) -> subprocess.Popen[bytes]:
    number = listener.fileno()
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
        [sys.executable, "-c", f"from aragora.server import dev; dev.adopt({number})"],
        pass_fds=(number,),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def adopt(number: int) -> None:
    """What the reloading parent's child runs: serve the inherited listener."""
    try:
        run(socket.socket(fileno=number))
    except KeyboardInterrupt:
        pass


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(DRAIN_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
