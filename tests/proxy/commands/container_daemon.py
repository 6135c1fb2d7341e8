"""A stand-in for the daemon that runs containers: it speaks as much of Docker's API as is read, over a unix socket."""

import json
import queue
import re
import socketserver
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

ENDED = None


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "ContainerDaemon"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def address_string(self) -> str:
        return "unix"

    def do_GET(self) -> None:
        path = re.sub(r"^/v[\d.]+", "", self.path).partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        inspected = re.fullmatch(r"/containers/(\w+)/json", path)
        if path == "/version":
            self._send({"ApiVersion": "1.43", "MinAPIVersion": "1.24"})
        elif path == "/containers/json":
            self._send(self.server.listing or [_listed(one) for one in self.server.running.values()])
        elif inspected and inspected[1] in self.server.running:
            self._send(self.server.running[inspected[1]])
        elif path == "/events":
            self._stream()
        else:
            self._send({"message": "no such container"}, 404)

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def _send(self, document: object, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.server.listeners.append(events)
        with suppress(OSError):  # the client has left
            while (event := events.get()) is not ENDED:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")


def _listed(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "Id": document["Id"],
        "Names": [document["Name"]],
        "Labels": document["Config"]["Labels"],
        "Created": int(document["Created"][17:19]),
    }


class ContainerDaemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens at `path` until `close`; `asked` has the methods and paths of all requests."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Api)
        self.asked: list[str] = []
        self.running: dict[str, dict[str, Any]] = {}
        self.listing: object = None
        """What is answered instead of the list of containers."""
        self.listeners: list[queue.Queue[dict[str, Any] | None]] = []
        self._born = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    def start(self, name: str, labels: dict[str, str], image: str = "one", **more: Any) -> str:
        """Run a container on this machine's network, younger than those before; its id."""
        self._born += 1
        key = f"{self._born:012x}"
        self.running[key] = {
            "Id": key,
            "Name": f"/{name}",
            "Created": f"2026-01-01T00:00:{self._born:02d}.123456789Z",
            "Image": f"sha256:{image}",
            "State": {"Running": True, "Paused": False},
            "Config": {"Labels": labels, "StopSignal": "SIGTERM"},
            "HostConfig": {"NetworkMode": "host"},
            "NetworkSettings": {"Networks": {}, "Ports": {}},
            **more,
        }
        self.tell("start", key)
        return key

    def stop(self, key: str) -> None:
        """The container has ended."""
        del self.running[key]
        self.tell("die", key)

    def tell(self, action: str, key: str, **attributes: str) -> None:
        """An event for all that listen."""
        for events in self.listeners:
            events.put({"Type": "container", "Action": action, "Actor": {"ID": key, "Attributes": attributes}})

    def close(self) -> None:
        for events in self.listeners:
            events.put(ENDED)
        self.shutdown()
        self._thread.join()
        self.server_close()
        Path(str(self.server_address)).unlink(missing_ok=True)
