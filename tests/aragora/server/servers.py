"""The application as it is deployed: one process tree for each kind of server, on a port that the kernel chose."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
import websocket

from tests.waiting import PATIENCE, until

CHECKOUT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
QUESTION = "Should we adopt event sourcing for billing?"
KINDS = ("gunicorn", "uvicorn", "dev")
THOROUGH = KINDS if os.environ.get("ARAGORA_LONG") == "1" else KINDS[:1]
"""Those for tests that take long: all of them in a job of CI, else what production runs."""

ASGI = "aragora.server.asgi:application"
COMMANDS = {
    "gunicorn": [str(BIN / "gunicorn"), "-c", "conf/gunicorn.conf.py", "--bind", "fd://{fd}"],
    "uvicorn": [
        *(str(BIN / "uvicorn"), ASGI, "--fd", "{fd}"),
        *("--limit-concurrency", "1000", "--timeout-keep-alive", "60"),
    ],
    "uvicorn-workers": [str(BIN / "uvicorn"), ASGI, "--workers", "3", "--fd", "{fd}"],
    "dev": [sys.executable, "-c", "from aragora.server import dev; dev.adopt({fd})"],
    "gunicorn-asgi": [str(BIN / "gunicorn"), "-k", "asgi", "--bind", "fd://{fd}", ASGI],
    "gunicorn-uvicorn": [str(BIN / "gunicorn"), "-k", "uvicorn_worker.UvicornWorker", "--bind", "fd://{fd}", ASGI],
}


class Socket:
    """A WebSocket client that speaks JSON."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self.raw = connection

    def send(self, **message: Any) -> None:
        """One message."""
        self.raw.send(json.dumps(message))

    def receive(self) -> dict[str, Any]:
        """The next message; a close frame fails the test."""
        kind, content = self.raw.recv_data()
        assert kind == websocket.ABNF.OPCODE_TEXT, (kind, content)
        return dict(json.loads(content))

    def until(self, kind: str) -> dict[str, Any]:
        """The next message of this type; others are passed over."""
        while True:
            message = self.receive()
            if message["type"] == kind:
                return message

    def closed(self) -> int:
        """The code that the server closes with; messages before it are passed over."""
        while True:
            kind, content = self.raw.recv_data()
            if kind == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(content[:2], "big")


class Server:
    """A running application."""

    def __init__(self, kind: str, directory: Path, **environ: str) -> None:
        self.kind = kind
        self.directory = directory
        self.log = directory / "log"
        self.data = directory / "data"
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.http = requests.Session()
        self.http.trust_env = False
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ARAGORA_", "DATABASE_"))}
        settings = {
            "ARAGORA_DATA_DIR": str(self.data),
            "ARAGORA_WORKLOAD": "2",
            # longer than a test leaves our connection idle: it would be closed while the next request is on its way
            "ARAGORA_KEEPALIVE": "60",
            "PYTHONWARNINGS": "default",
            **environ,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [part.format(fd=listener.fileno()) for part in COMMANDS[kind]],
                cwd=CHECKOUT,
                env={**clean, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # so that a worker which outlives its master can be found
            )
        listener.close()

    def await_ready(self) -> None:
        """Return when the application says that it is ready."""
        until(self._is_ready, self.log.read_text)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get(f"{self.base}/ready", timeout=5).ok
        except requests.RequestException:
            return False

    def workers(self) -> list[int]:
        """The pids of a gunicorn's workers."""
        master = self.process.pid
        return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]

    def get(self, path: str, **options: Any) -> requests.Response:
        """One GET."""
        return self.request("GET", path, **options)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request."""
        return self.http.request(method, self.base + path, timeout=PATIENCE, **options)

    def ask(self, **more: Any) -> str:
        """The id of a new debate."""
        answer = self.request("POST", "/api/debates", json={"question": QUESTION, "agents": ["demo"] * 3, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["debate_id"])

    def finished(self, **more: Any) -> dict[str, Any]:
        """A debate that has ended."""
        body = {"question": QUESTION, "agents": ["demo"] * 3, "rounds": 1, **more}
        answer = self.request("POST", "/api/debates?wait=50", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    @cached_property
    def debate(self) -> dict[str, Any]:
        """One debate of two rounds that has ended, for all who only read."""
        return self.finished(rounds=2)

    @contextmanager
    def socket(self, path: str = "/ws", **options: Any) -> Iterator[Socket]:
        """An open WebSocket; options are websocket-client's."""
        options = {"suppress_origin": True, **options}
        connection = websocket.create_connection(f"ws://127.0.0.1:{self.port}{path}", timeout=PATIENCE, **options)
        try:
            yield Socket(connection)
        finally:
            connection.shutdown()

    @contextmanager
    def greeted(self, **options: Any) -> Iterator[Socket]:
        """An open WebSocket after the server's greeting."""
        with self.socket(**options) as client:
            assert client.receive()["type"] == "connection_info"
            assert client.receive()["type"] == "loop_list"
            yield client

    def metric(self, name: str) -> float:
        """The sum of a metric's samples whose line begins with `name`."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def terminate(self) -> int:
        """End it as a supervisor does; the exit code. Our kept connection would hold gunicorn back for `keepalive`."""
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Leave nothing behind."""
        self.http.close()
        if self.process.poll() is None:
            # gunicorn's TERM waits for connections that are kept; QUIT does not, and uvicorn's workers know both.
            self.process.send_signal(signal.SIGQUIT if self.kind.startswith("gunicorn") else signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@contextmanager
def running(kind: str, directory: Path, **environ: str) -> Iterator[Server]:
    """A server that is ready."""
    directory.mkdir(parents=True, exist_ok=True)
    server = Server(kind, directory, **environ)
    try:
        server.await_ready()
        yield server
    finally:
        server.close()
