"""A connection between its acceptance and the protocol that serves it.

Its first bytes are read by stages: a PROXY header where one is due, then a TLS handshake or, without TLS, the detection
of the protocol. A stage that is done hands the socket over, with its watcher, to the next stage or to the protocol:

    accepted ──► [PROXY header] ──► TLS handshake ──ALPN──► HTTP/1 or HTTP/2
                              └───► detection ──preface──► HTTP/1 or HTTP/2
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from proxy.downstream.frontend import Frontend
from proxy.errors import Failure
from proxy.net.event_loop import Watcher
from proxy.net.sockets import HEAD_RECEIVE_SIZE, Socket
from proxy.net.stream import Stream


@dataclass(frozen=True, slots=True)
class Stage:
    """What the first bytes of connections are read for; it keeps nothing of a single connection."""

    read: Callable[["AcceptedConnection"], None]
    """Called when the socket is ready."""
    timed_out: Failure | None = None
    """The failure that a passed deadline is; None if a silent client is none."""


class AcceptedConnection(Stream):
    """A connection whose client or protocol is still unknown.

    It has no request in flight, so it may be closed to make room.
    """

    __slots__ = ("client", "front", "plain", "received", "stage")

    parked = True
    detached = False

    def __init__(
        self, stage: Stage, timeout: float, sock: Socket, front: Frontend, client: str, watcher: Watcher | None
    ) -> None:
        """`timeout` is for the whole stage, in seconds; the arguments behind it are those of an `Opening`."""
        super().__init__(sock, front.context.hub, front.context.deadlines, watcher, swept=True)
        self.stage = stage
        self.plain = sock
        """The socket beneath TLS."""
        self.front = front
        self.client = client
        self.received = b""
        self.deadline = monotonic() + timeout
        front.connections.add(self)

    def exchanges(self) -> tuple[()]:
        return ()

    def on_readable(self) -> None:
        self.stage.read(self)

    def receive_more(self) -> bool:
        """Add what has arrived to `received`. False if that is nothing; at the client's end the connection is closed.

        An end before the first byte is no failure: a probe of whether the port is open, or a browser's reserve.
        """
        try:
            data = self.plain.recv(HEAD_RECEIVE_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        self.received += data
        return True

    def reject(self, failure: Failure) -> None:
        """Close and count it: no protocol is known yet in which the client could be sent a reason."""
        self.front.context.counters.rejected(failure.reason)
        self.close()

    def expire(self) -> None:
        if self.stage.timed_out is None:
            self.close()
        else:
            self.reject(self.stage.timed_out)

    def hand_over(self) -> Watcher:
        self.front.connections.discard(self)
        return super().hand_over()

    def close(self) -> None:
        if not self.closed:
            self.front.connections.discard(self)
            self.front.ended(self.sock.fileno())
        super().close()
