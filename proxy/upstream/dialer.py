"""Opening a connection to a peer: its addresses in turn, then what the transport does before the first request."""

import errno
import os
import socket
from typing import NamedTuple, Protocol

from gevent import socket as gevent_socket

from proxy.net.congestion import spare_pacing
from proxy.net.event_loop import Deadlines, Hub, Watcher
from proxy.net.sockets import Socket, SocketLike
from proxy.net.stream import Stream
from proxy.settings.values import Address
from proxy.upstream.transport import Transport
from proxy.wire.proxy_protocol import endpoints_of, header

# A unix socket whose backlog is full answers EAGAIN instead of waiting.
_REFUSED = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ENOENT,
        errno.EAGAIN,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
    }
)


def is_refusal(error: OSError) -> bool:
    """Whether the peer's address accepts no connection, so that another address or a later moment may be tried."""
    return error.errno in _REFUSED


def addresses_of(address: Address) -> list[tuple[int, object]]:
    """Where to connect, in order. A name is looked up for each new connection, by a thread of gevent's.

    Raises `OSError`, as a refusal, for a name that has no address.
    """
    if address.family != socket.AF_UNSPEC:
        return [(address.family, address.sockaddr)]
    try:
        found = gevent_socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(errno.ECONNREFUSED, error.strerror) from error
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]


class Link(NamedTuple):
    """What a connection is made of: its socket, the hub that watches it, its active read watcher if it has one, and
    what is sent before the first request."""

    sock: SocketLike
    hub: Hub
    watcher: Watcher | None
    preamble: bytes


class Dialing(Protocol):
    """How connections to one peer are opened."""

    def dial(self, deadline: float, preamble: bytes) -> Link:
        """Raises `DeadlinePassed`, `OSError` or `ExchangeError`. `preamble` is the PROXY header of the one client that
        the connection is made for; if there is none, the gateway may be named."""

    def close(self) -> None:
        """Keep nothing open that no request is on."""


class Dialer:
    """A socket of its own for each connection."""

    def __init__(
        self, address: Address, transport: Transport, hub: Hub, deadlines: Deadlines, proxy_protocol: str = "off"
    ) -> None:
        self._address = address
        self._transport = transport
        self._hub = hub
        self._deadlines = deadlines
        self._proxy_protocol = proxy_protocol

    def dial(self, deadline: float, preamble: bytes) -> Link:
        # No exception: its traceback would lead back to this frame and all that it knows.
        refused: tuple[int | None, str | None] = (errno.ECONNREFUSED, "no address")
        for family, address in addresses_of(self._address):
            try:
                return self._dial(family, address, deadline, preamble)
            except OSError as error:
                if not is_refusal(error):
                    raise
                refused = error.errno, error.strerror
        raise OSError(*refused)

    def close(self) -> None:
        """Nothing is kept here."""

    def _dial(self, family: int, address: object, deadline: float, preamble: bytes) -> Link:
        sock = Socket(family, socket.SOCK_STREAM)
        stream: Stream | None = None
        try:
            sock.setblocking(False)
            if isinstance(address, tuple):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                spare_pacing(sock, address[0])
            code = sock.connect_ex(address)  # type: ignore[arg-type]
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            stream = Stream(self._transport.wrap(sock), self._hub, self._deadlines)
            if code:
                stream.wait_writable(deadline)
                failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    raise OSError(failed, os.strerror(failed))
            if self._proxy_protocol != "off":
                preamble = preamble or self._own_header(sock)
            preamble = self._transport.establish(stream, preamble, deadline)
        except BaseException:
            sock.close() if stream is None else stream.close()
            raise
        return Link(stream.sock, self._hub, stream.hand_over(), preamble)

    def _own_header(self, sock: Socket) -> bytes:
        """The PROXY header that names the gateway itself.

        One without addresses (LOCAL, UNKNOWN) would be right too, but leaves gunicorn's applications without an address
        of their peer.
        """
        own, peer = sock.getsockname(), sock.getpeername()
        client = own[0] if isinstance(own, tuple) else ""
        return header(self._proxy_protocol, endpoints_of(client, own, peer))
