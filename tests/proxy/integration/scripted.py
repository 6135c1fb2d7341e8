"""An upstream that answers from a script, byte for byte, and keeps what it was sent."""

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field

from tests.waiting import PATIENCE, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Script:
    """How to answer the next requests, once `opened` is set. `then`: stays, closes, resets, or shuts (half-closes)."""

    reply: bytes = OK
    then: str = "stays"
    bytewise: bool = False
    opened: threading.Event | None = None


@dataclass
class Received:
    """One request as it came in, and the connection it came on (counted from 1)."""

    data: bytes
    connection: int


@dataclass
class ScriptedUpstream:
    """Listens on a port of the kernel's choice; one thread per connection; ended by close()."""

    script: Script = field(default_factory=Script)
    received: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.stray = b""
        self._open: dict[socket.socket, int] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def open(self) -> set[int]:
        """The connections that have not ended, counted from 1."""
        return set(self._open.values())

    def expect(self, script: Script | None = None) -> None:
        """Forget what came so far, and answer this way from now on."""
        self.received = []
        self.stray = b""
        self.script = script or Script()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                self._open[sock] = self.connections
                threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        pending = b""
        try:
            while True:
                request, pending = read_request(sock, pending)
                if not request:
                    self.stray += pending
                    return
                self.received.append(Received(request, number))
                script = self.script
                if script.opened is not None:
                    script.opened.wait(PATIENCE)
                if script.bytewise:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for position in range(len(script.reply)):
                        sock.sendall(script.reply[position : position + 1])
                else:
                    sock.sendall(script.reply)
                if script.then == "closes":
                    return
                if script.then == "resets":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
        except OSError:
            pass
        finally:
            self._open.pop(sock, None)
            sock.close()

    def wait_for(self, count: int) -> list[Received]:
        """The requests, once there are `count` of them."""
        until(lambda: len(self.received) >= count, f"{count} requests at the upstream")
        return self.received

    def close(self) -> None:
        """Stop listening and end every connection."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # else the thread in accept keeps it open
        self.listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Manual:
    """An upstream whose connections the test holds itself."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.kept = [self.listener]
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> socket.socket:
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE)
        self.kept.append(sock)
        return sock


def read_until(sock: socket.socket, mark: bytes, pending: bytes = b"") -> bytes:
    """What is pending and what comes until the mark is among it."""
    while mark not in pending:
        data = sock.recv(65536)
        assert data, f"the connection ended behind {pending[-100:]!r}"
        pending += data
    return pending


def read_request(sock: socket.socket, pending: bytes) -> tuple[bytes, bytes]:
    """One request with its body, and what followed it. Empty when the connection ends first."""
    while b"\r\n\r\n" not in pending:
        data = sock.recv(65536)
        if not data:
            return b"", pending
        pending += data
    end = pending.index(b"\r\n\r\n") + 4
    length = 0
    for line in pending[:end].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        if line == b"transfer-encoding: chunked":
            return read_chunks(sock, pending, end)
    while len(pending) < end + length:
        data = sock.recv(65536)
        if not data:
            return b"", pending
        pending += data
    return pending[: end + length], pending[end + length :]


def read_chunks(sock: socket.socket, pending: bytes, position: int) -> tuple[bytes, bytes]:
    """A chunked body that begins at `position`, without trailers; returns as `read_request`."""
    while True:
        end = pending.find(b"\r\n", position)
        if end >= 0:
            size = int(pending[position:end], 16)
            following = end + 2 + size + 2
            if len(pending) >= following:
                position = following
                if not size:
                    return pending[:position], pending[position:]
                continue
        data = sock.recv(65536)
        if not data:
            return b"", pending
        pending += data
