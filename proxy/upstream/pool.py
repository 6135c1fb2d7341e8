"""Connections to one peer: leased for one exchange, then returned for the next or discarded.

An idle connection's read watcher stays on. Whatever it reports, EOF or bytes that were not asked for, the connection is
unusable and leaves the pool before it can be leased. There are three kinds of idle connections:

    idle       for any request. The last returned is leased first: it is the least likely to be near the peer's idle
               limit, and the surplus of a past peak ages out at the other end
    doubtful   for none: its last response announced a body that it must not have. Idle after `_DOUBT` seconds
    private    for requests of the client that has authenticated it, or may do so (`resume`)
"""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from proxy import errors
from proxy.errors import DeadlinePassed, ExchangeError
from proxy.net.event_loop import NEVER, Deadlines, Hub
from proxy.observe.peer_counters import PeerCounters
from proxy.settings.values import Address
from proxy.upstream.conduct import Conduct
from proxy.upstream.connection import LastHead, UpstreamConnection
from proxy.upstream.dialer import Dialer, Dialing, addresses_of, is_refusal
from proxy.upstream.health import Health, HealthLimits
from proxy.upstream.queue import Queue
from proxy.upstream.transport import PlainTransport

HEALTH = HealthLimits()
PLAIN = PlainTransport()

_DOUBT = 0.25
"""Seconds after a response in which more bytes count as a part of it; later ones announce the peer's close (408)."""


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
        dialer: Dialing | None = None,
        was_up: Callable[[], bool] = _assumed,
    ) -> None:
        """`dialer` None: the peer speaks HTTP/1 without TLS. `was_up`: whether the peer ever accepted a connection, of
        this process or another."""
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
        self._dialer: Final = dialer or Dialer(address, PLAIN, hub, deadlines, proxy_protocol)
        self._shared = proxy_protocol == "off"
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

    def failed(self, fault: str) -> None:
        """An exchange could not be had from the peer."""
        self.counters.failure()
        self.health.failed(monotonic(), fault)

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
        self.open += 1
        try:
            link = self._dialer.dial(monotonic() + timeout, preamble)
        except BaseException as error:
            self.open -= 1
            self.has_room()
            if isinstance(error, DeadlinePassed):
                self.failed("connecting took too long")
                raise ExchangeError(errors.CONNECT_TIMEOUT, self.name) from None
            if isinstance(error, (OSError, ExchangeError)):
                self.failed(error.strerror or str(error) if isinstance(error, OSError) else str(error))
            if isinstance(error, OSError) and is_refusal(error):
                raise ConnectRefused(self.name, error.strerror or str(error)) from None
            if isinstance(error, OSError):
                raise ExchangeError(errors.UNAVAILABLE, f"connect to {self.name}: {error.strerror}") from error
            raise
        connection = UpstreamConnection(link.sock, link.hub, self.deadlines, self, self._last_head, link.watcher)
        connection.preamble = link.preamble
        connection.reusable = self._shared  # else it is one client's: no other client's request may follow on it
        self.counters.connect()
        return connection

    def addresses(self) -> list[tuple[int, object]]:
        """Where to connect, in order. Raises `ConnectRefused` for a name that has no address."""
        try:
            return addresses_of(self.address)
        except OSError as error:
            raise ConnectRefused(self.name, error.strerror or str(error)) from None

    def close(self) -> None:
        """Close the idle connections; leased ones are closed when they come back."""
        self._size = self._room = 0
        self._drop_idle()
        self._dialer.close()
