"""Telling HTTP/2 from HTTP/1 by a cleartext connection's first bytes (RFC 9113 section 3.3)."""

from time import monotonic

from proxy.downstream.frontend import Frontend
from proxy.downstream.h1.connection import Connection as Http1Connection
from proxy.downstream.h2.connection import Connection as Http2Connection
from proxy.net.sockets import HEAD_RECEIVE_SIZE, Socket
from proxy.net.stream import Stream
from proxy.wire.h2.frames import PREFACE


class ProtocolDetection(Stream):
    """A connection that has not said yet which protocol it speaks."""

    __slots__ = ("_client", "_front", "_received")

    parked = True
    detached = False

    def __init__(self, sock: Socket, front: Frontend, client: str) -> None:
        super().__init__(sock, front.context.hub, front.context.deadlines, swept=True)
        self._front = front
        self._client = client
        self._received = b""
        self.deadline = monotonic() + front.tables.settings.first_request_timeout
        front.connections.add(self)

    def exchanges(self) -> tuple[()]:
        return ()

    def on_readable(self) -> None:
        try:
            data = self.sock.recv(HEAD_RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._received += data
        start = self._received[: len(PREFACE)]
        if not PREFACE.startswith(start):
            front = self._front
            self._let_go()
            front.resume(Http1Connection(self.sock, front, self._client, received=self._received))
        elif len(start) == len(PREFACE):
            self._let_go()
            Http2Connection(self.sock, self._front, self._client, self._received)
        elif self.deadline > monotonic() + self._front.tables.settings.head_timeout:
            self.deadline = monotonic() + self._front.tables.settings.head_timeout

    def _let_go(self) -> None:
        """Leave the socket to another."""
        self.detach()
        self._front.connections.discard(self)

    def close(self) -> None:
        if not self.closed:
            self._front.connections.discard(self)
            self._front.ended(self.sock.fileno())
        super().close()
