"""Connections to one peer: leased for one exchange, then returned for the next or discarded.

An idle connection's read watcher stays on. Whatever it reports, EOF or bytes that were not asked for, the connection is
unusable and leaves the pool before it can be leased. There are three kinds of idle connections:

    idle       for any request. The last returned is leased first: it is the least likely to be near the peer's idle
               limit, and the surplus of a past peak ages out at the other end
    doubtful   for none: its last response announced a body that it must not have. Idle after `_DOUBT` seconds
    private    for requests of the client that has authenticated it, or may do so (`resume`)
"""

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic

from gevent import socket as gevent_socket

from proxy import errors
from proxy.errors import DeadlinePassed, ExchangeError
from proxy.net.congestion import spare_pacing
from proxy.net.event_loop import NEVER, Deadlines, Hub
from proxy.net.sockets import Socket
from proxy.observe.metrics import PeerCounters
from proxy.settings.values import Address
from proxy.upstream.conduct import Conduct
from proxy.upstream.connection import LastHead, UpstreamConnection
from proxy.upstream.health import Health, HealthLimits
from proxy.upstream.queue import Queue
from proxy.upstream.transport import PlainTransport, Transport
from proxy.wire.proxy_protocol import endpoints_of, header

HEALTH = HealthLimits()
PLAIN = PlainTransport()

_DOUBT = 0.25
"""Seconds after a response in which more bytes count as a part of it; later ones announce the peer's close (408)."""

# A unix socket whose backlog is full answers EAGAIN instead of waiting.
_REFUSED = {
    errno.ECONNREFUSED,
    errno.ENOENT,
    errno.EAGAIN,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
}


def _assumed() -> bool:
    return True


class ConnectRefused(Exception):  # noqa: N818 - names what happened
    """The peer's address accepts no connection: nothing was sent, so any request may wait and try again."""

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(f"{name}: {fault}")
        self.fault = fault


class Pool:
    """The connections of this process to one peer."""

    def __init__(
        self,
        address: Address,
        hub: Hub,
        deadlines: Deadlines,
        counters: PeerCounters,
        *,
        size: int,
        idle_limit: float,
        reuse_unsafe: float,
        health: HealthLimits = HEALTH,
        proxy_protocol: str = "off",
        transport: Transport = PLAIN,
        was_up: Callable[[], bool] = _assumed,
    ) -> None:
        """`was_up`: whether the peer ever accepted a connection, of this process or another."""
        self.address = address
        self.name = str(address)
        self.host = address.authority.encode()
        """What the Host field of a request says that is addressed to the peer itself."""
        self.hub = hub
        self.deadlines = deadlines
        self.counters = counters
        self._size = size if idle_limit > 0 else 0
        """How many idle connections are kept; none once it is closed."""
        self._room = self._size
        """How many of them any request may have."""
        self._idle_limit = idle_limit
        self._reuse_unsafe = reuse_unsafe
        self._idle: list[UpstreamConnection] = []
        self._doubtful: deque[UpstreamConnection] = deque()
        self._private: set[UpstreamConnection] = set()
        self.conduct = Conduct(self.name)
        self.examined = False
        """Whether it was looked into what the peer speaks."""
        self.open = 0
        """Connections, idle or leased."""
        self.health = Health(health)
        self._proxy_protocol = proxy_protocol
        self._transport = transport
        self.was_up = was_up
        self._queues: list[Queue] = []
        self._last_head = LastHead()

    @property
    def idle_count(self) -> int:
        return len(self._idle) + len(self._doubtful) + len(self._private)

    @property
    def busy(self) -> int:
        """Connections with an exchange."""
        return self.open - self.idle_count

    def serve(self, queue: Queue) -> None:
        """Wake this queue from now on when a connection becomes free; forget those of past configurations."""
        self._queues = [*(old for old in self._queues if len(old)), queue]

    def has_room(self) -> None:
        """A connection became free."""
        for queue in self._queues:
            queue.wake()

    def responded(self) -> None:
        """The peer responded on a connection that is not returned."""
        if self.health.failures:
            self.health.succeeded(monotonic())

    def failed(self) -> None:
        """An exchange could not be had from the peer."""
        self.counters.failure()
        self.health.failed(monotonic())

    def lease(self, now: float, *, repeatable: bool) -> UpstreamConnection | None:
        """An idle connection, or None.

        A request that must not be sent twice gets only a connection whose last response ended less than `reuse_unsafe`
        seconds ago and that is open at this moment (RFC 9110 section 9.2.2 forbids repeating it).
        """
        idle = self._idle
        if self._doubtful:
            self._end_doubts(now)
        while idle:
            connection = idle.pop()
            if connection.deadline <= now:
                connection.close()
                continue
            if not repeatable:
                if now - connection.idle_since >= self._reuse_unsafe:
                    idle.append(connection)  # it and the older ones are good enough for other requests
                    return None
                if not connection.alive():
                    connection.close()
                    continue
            connection.idle_since = 0.0
            connection.deadline = NEVER
            self.counters.reuse()
            return connection
        return None

    def resume(self, connection: UpstreamConnection, now: float, *, repeatable: bool) -> UpstreamConnection | None:
        """Lease a private connection to its client again, or another if it cannot be used."""
        self._private.remove(connection)
        self._make_room()
        if repeatable or now - connection.idle_since < self._reuse_unsafe:
            self._idle.append(connection)
        else:
            connection.close()
        return self.lease(now, repeatable=repeatable)

    def _end_doubts(self, now: float) -> None:
        doubtful = self._doubtful
        while doubtful and doubtful[0].idle_since <= now - _DOUBT:
            self._idle.insert(0, doubtful.popleft())
        self._make_room()

    def _make_room(self) -> None:
        """The number of doubtful or private connections has changed."""
        self._room = self._size - len(self._doubtful) - len(self._private)

    def give_back(self, connection: UpstreamConnection, now: float, *, doubtful: bool = False) -> None:
        """Keep a connection whose response was read to its end for the next exchange.

        `doubtful`: the response announced a body that it must not have. If the peer sent it all the same, a moment
        later, it would be taken for the beginning of another client's response.
        """
        conduct = self.conduct
        if len(self._idle) >= self._room or now < conduct.distrusted_until or (doubtful and conduct.sends_bodies):
            connection.close()
            return
        connection.idle_since = now
        connection.first_byte = 0.0
        connection.deadline = now + self._idle_limit
        if not connection.read_watcher.active:
            connection.read_watcher.start(connection.on_readable)
        if connection.private:
            self._private.add(connection)
            self._make_room()
        elif doubtful:
            self._doubtful.append(connection)
            self._make_room()
        else:
            self._idle.append(connection)
        if self.health.failures:
            self.health.succeeded(now)
        if self._queues:
            self.has_room()

    def on_idle_readable(self, connection: UpstreamConnection) -> None:
        """The peer has closed an idle connection, or sent something on it."""
        now = monotonic()
        doubtful = connection in self._doubtful
        overran = now - connection.idle_since < _DOUBT and connection.has_bytes()
        self.discard(connection)
        if overran and doubtful:
            self.conduct.sends_bodies = True
        elif overran:
            self.overran(now)

    def on_closed(self, connection: UpstreamConnection) -> None:
        """A connection was closed."""
        self.open -= 1
        if connection.idle_since == 0.0:
            self.has_room()

    def overran(self, now: float) -> None:
        """The peer has sent bytes behind a response."""
        if self.conduct.slipped(now):
            self._drop_idle()

    def discard(self, connection: UpstreamConnection) -> None:
        """Close an idle connection, of whichever kind."""
        if connection in self._private:
            self._private.remove(connection)
        elif connection in self._doubtful:
            self._doubtful.remove(connection)
        elif connection in self._idle:
            self._idle.remove(connection)
        self._make_room()
        connection.close()

    def _drop_idle(self) -> None:
        for connection in [*self._idle, *self._doubtful, *self._private]:
            self.discard(connection)

    def connect(self, timeout: float, preamble: bytes = b"") -> UpstreamConnection:
        """A new connection. Raises `ConnectRefused`, or `ExchangeError` if the peer does not accept in time.

        `preamble` is the PROXY header of the one client that it is made for; else one names the gateway itself.
        """
        refused = "no address"  # no exception: its traceback would lead back to this frame and all that it knows
        for family, address in self.addresses():
            try:
                connection = self._connect_to(family, address, monotonic() + timeout, preamble)
            except OSError as error:
                if error.errno not in _REFUSED:
                    self.failed()
                    raise ExchangeError(errors.UNAVAILABLE, f"connect to {self.name}: {error.strerror}") from error
                refused = error.strerror or str(error)
            else:
                self.counters.connect()
                return connection
        self.failed()
        raise ConnectRefused(self.name, refused)

    def _own_header(self, connection: UpstreamConnection) -> bytes:
        """The PROXY header that names the gateway itself.

        One without addresses (LOCAL, UNKNOWN) would be right too, but leaves gunicorn's applications without an address
        of their peer.
        """
        own, peer = connection.sock.getsockname(), connection.sock.getpeername()
        client = own[0] if isinstance(own, tuple) else ""
        return header(self._proxy_protocol, endpoints_of(client, own, peer))

    def addresses(self) -> list[tuple[int, object]]:
        """Where to connect, in order. A name is looked up for each new connection, by a thread of gevent's.

        Raises `ConnectRefused` for a name that has no address.
        """
        if self.address.family != socket.AF_UNSPEC:
            return [(self.address.family, self.address.sockaddr)]
        try:
            found = gevent_socket.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise ConnectRefused(self.name, error.strerror or "no address") from error
        return [(family, address) for family, _, _, _, address in found]

    def _connect_to(self, family: int, address: object, deadline: float, preamble: bytes) -> UpstreamConnection:
        sock = Socket(family, socket.SOCK_STREAM)
        connection: UpstreamConnection | None = None
        try:
            sock.setblocking(False)
            if isinstance(address, tuple):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                spare_pacing(sock, address[0])
            code = sock.connect_ex(address)  # type: ignore[arg-type]
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            connection = UpstreamConnection(self._transport.wrap(sock), self.hub, self.deadlines, self, self._last_head)
            self.open += 1
            if code:
                connection.wait_writable(deadline)
                failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    raise OSError(failed, os.strerror(failed))
            if self._proxy_protocol != "off":
                connection.reusable = False  # it is one client's: no other client's request may follow on it
                preamble = preamble or self._own_header(connection)
            connection.preamble = self._transport.establish(connection, preamble, deadline)
        except BaseException as error:
            sock.close() if connection is None else connection.close()
            if isinstance(error, DeadlinePassed):
                self.failed()
                raise ExchangeError(errors.CONNECT_TIMEOUT, self.name) from None
            if isinstance(error, ExchangeError):
                self.failed()
            raise
        return connection

    def close(self) -> None:
        """Close the idle connections; leased ones are closed when they come back."""
        self._size = self._room = 0
        self._drop_idle()
