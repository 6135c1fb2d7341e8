"""A stand-in for Docker's daemon: one container whose processes echo their input in upper case.

It speaks as much of the Engine API as `docker exec` and `docker attach` need, with the connection hijacked as the API
describes it: after a 101 the streams of a process without a terminal come in pieces behind headers of eight bytes.
"""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_EXEC = "e" * 64
_CONTAINER = "c" * 64
_OUTPUT = 1


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Daemon"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = re.sub(r"^/v[\d.]+", "", self.path).partition("?")[0]
        self.server.asked.append((self.command, path, self.headers.get("Upgrade", ""), body))
        if path == "/_ping":
            self._send(b"OK", ("Api-Version", "1.43"))
        elif path.endswith("/attach") or path == f"/exec/{_EXEC}/start":
            self._hijack()
        elif path.endswith("/wait"):
            self._send(json.dumps({"StatusCode": 0}).encode())
        elif path.endswith("/exec"):
            self._send(json.dumps({"Id": _EXEC}).encode(), status=201)
        elif path == f"/exec/{_EXEC}/json":
            self._send(json.dumps({"ID": _EXEC, "Running": False, "ExitCode": 7}).encode())
        elif path.endswith("/json"):
            state = {"Status": "running", "Running": True, "Paused": False, "Restarting": False}
            config = {"Tty": False, "OpenStdin": True, "AttachStdin": True, "StdinOnce": True}
            self._send(json.dumps({"Id": _CONTAINER, "Name": "/app", "State": state, "Config": config}).encode())
        else:
            self._send(b'{"message": "page not found"}', status=404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def _send(self, body: bytes, *fields: tuple[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *fields):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hijack(self) -> None:
        if self.headers.get("Upgrade") == "tcp":
            self.wfile.write(
                b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
                b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            )
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
        self.close_connection = True
        self._tell(b"ready\n")
        while data := self.rfile.read1(65536):
            self._tell(data.upper())
        self._tell(b"the end\n")

    def _tell(self, data: bytes) -> None:
        self.wfile.write(bytes((_OUTPUT, 0, 0, 0)) + len(data).to_bytes(4, "big") + data)


class Daemon(ThreadingHTTPServer):
    """Listens on a port of the kernel's choice until `close`; `asked` has method, path, Upgrade and body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Api)
        self.asked: list[tuple[str, str, str, bytes]] = []
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self._thread = Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
