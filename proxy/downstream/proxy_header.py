"""The PROXY protocol header before a connection's first byte: who the client is, as a trusted proxy says."""

import socket
from time import monotonic

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.errors import Failure
from proxy.net.sockets import Socket
from proxy.net.stream import Stream
from proxy.wire.proxy_protocol import MAX_V2, ProxyHeaderError, parse_header


class ProxyHeader(Stream):
    """A connection of which the header has not come yet. It is taken off the socket to the byte, and nothing more.

    Any other peer than a trusted proxy is turned away: whoever can reach the port could pretend to be anybody.
    """

    __slots__ = ("_front", "_peer", "_received", "_sock")

    parked = True
    detached = False

    def __init__(self, sock: Socket, front: Frontend, peer: str) -> None:
        super().__init__(sock, front.context.hub, front.context.deadlines, swept=True)
        self._sock = sock
        self._front = front
        self._peer = peer
        self._received = b""
        front.connections.add(self)
        if not front.tables.trusted.trusts(peer):
            self._refuse(errors.NOT_TRUSTED)
            return
        self.deadline = monotonic() + front.tables.settings.head_timeout

    def exchanges(self) -> tuple[()]:
        return ()

    def on_readable(self) -> None:
        try:
            seen = self.sock.recv(MAX_V2, socket.MSG_PEEK)
            if not seen:
                self.close()
                return
            found = parse_header(self._received + seen)
            # While it is incomplete all that came belongs to it.
            size = len(seen) if found is None else found[1] - len(self._received)
            self._received += self.sock.recv(size)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        except ProxyHeaderError:
            self._refuse(errors.PROXY_HEADER)
            return
        if found is not None:
            endpoints, _ = found
            self._let_go()
            self._front.admit(self._sock, self._peer if endpoints is None else endpoints.source)

    def expire(self) -> None:
        self._refuse(errors.PROXY_HEADER_TIMEOUT)

    def _refuse(self, failure: Failure) -> None:
        self._front.context.counters.rejected(failure.reason)
        self.close()

    def _let_go(self) -> None:
        """Leave the socket to whoever serves it from now on."""
        self.detach()
        self._front.connections.discard(self)

    def close(self) -> None:
        if not self.closed:
            self._front.connections.discard(self)
            self._front.ended(self.sock.fileno())
        super().close()
