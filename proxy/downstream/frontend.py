"""What the connections of one listener share, and the greenlets that serve them."""

from collections.abc import Callable
from heapq import nsmallest
from time import monotonic
from typing import Protocol

from greenlet import getcurrent, greenlet

from proxy.downstream.connection_limit import ConnectionLimit
from proxy.downstream.proxy_header import ProxyHeader
from proxy.exchange.context import ExchangeContext
from proxy.exchange.downstream import Downstream
from proxy.exchange.request import Request
from proxy.exchange.route import Route, Tables
from proxy.net.sockets import Socket
from proxy.net.stream import Stream
from proxy.wire.fields import Clock

_SHARE = 64
"""One of so many connections makes room when the limit is reached."""

_FULL = 0.05
"""Seconds for which newcomers are turned away without a search after one found nobody idle."""


class Held(Protocol):
    """A client's connection, whatever it speaks."""

    deadline: float

    @property
    def parked(self) -> bool:
        """Whether no request is in flight on it."""

    @property
    def detached(self) -> bool:
        """Whether it was left to a tunnel."""

    def close(self) -> None: ...


class Multiplexed(Protocol):
    """A client's connection that carries several requests at once."""

    def drain(self) -> None:
        """Take no new ones, and tell the client."""


class Serving(Protocol):
    """What a greenlet serves: a connection, or a stream of one."""

    def serve(self) -> None:
        """Answer what was asked. Raises nothing."""


class Frontend:
    """What the connections of one listener share. `tables` is replaced on reload; a request keeps those it began with.

    `exchange` answers one request on one connection; `protocol` makes a connection of an accepted socket. Only an
    `introduced` listener reads the PROXY protocol and counts its clients' connections, if the settings say so.
    """

    def __init__(
        self,
        tables: Tables,
        context: ExchangeContext,
        exchange: Callable[[Downstream, Request, Route | None], None],
        protocol: Callable[[Socket, "Frontend", str], object],
        scheme: bytes,
        port: bytes,
        *,
        introduced: bool = False,
        at_once: bool = False,
    ) -> None:
        self.tables = tables
        self.context = context
        self.exchange = exchange
        self._protocol = protocol
        self._introduced = introduced
        self.scheme = scheme
        self.port = port
        self.at_once = at_once
        """Whether requests may be sent to their upstream in the loop's callbacks."""
        self.clock = Clock()
        self.connection_limit = ConnectionLimit(context.limits)
        self.draining = False
        self.connections: set[Held] = set()
        self.multiplexed: set[Multiplexed] = set()
        self.unmarked: set[Stream] = set()
        """Those with a body on its way that nothing but the end of the connection ends."""
        self.streams = 0
        """HTTP/2 streams under way on all of them."""
        self._idle: list[greenlet] = []
        self._greenlets = 0
        self._full_until = 0.0

    def accept(self, sock: Socket, client: str) -> None:
        """Take a new connection; over the limit, those that have been idle longest make room."""
        if len(self.connections) >= self.tables.settings.max_connections and not self._make_room():
            sock.close()
            return
        self.context.counters.accepted()
        if self._introduced and self.tables.settings.proxy_protocol:
            ProxyHeader(sock, self, client)
        else:
            self.admit(sock, client)

    def admit(self, sock: Socket, client: str) -> None:
        """Serve a connection whose client is known by now."""
        most = self.tables.settings.max_client_connections
        counted = most and self._introduced and not self.tables.trusted.trusts(client)
        if counted and not self.connection_limit.acquire(sock.fileno(), client, most):
            self.ended(sock.fileno())
            sock.close()
            return
        self._protocol(sock, self, client)

    def ended(self, descriptor: int) -> None:
        """The connection with this descriptor, which is still open, is about to be closed."""
        self.context.counters.ended()
        self.connection_limit.release(descriptor)

    def resume(self, asked: Serving) -> None:
        """Give what was asked to an idle greenlet. Called from the loop, not from a greenlet."""
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = greenlet(self._work, self.context.hub.greenlet)
            self._greenlets += 1
        worker.switch(asked)

    def _work(self, asked: Serving) -> None:
        hub_switch = self.context.hub.switch
        while True:
            asked.serve()
            self._idle.append(getcurrent())
            asked = hub_switch()

    def trim(self) -> None:
        """Let some of the idle greenlets go; called once a second, so that a past peak's are gone within a minute."""
        surplus = len(self._idle) // 16
        self._greenlets -= surplus
        del self._idle[:surplus]

    @property
    def serving(self) -> int:
        """Connections with a request in flight."""
        return sum(not connection.parked and not connection.detached for connection in self.connections)

    def _make_room(self) -> bool:
        """Whether room could be made for a connection.

        A search looks at every connection. One that finds something makes room for the next newcomers too, and one in
        vain is not repeated at once: whoever connects without end would keep the worker searching.
        """
        now = monotonic()
        if now < self._full_until:
            return False
        found = self.shed(1 + len(self.connections) // _SHARE)
        if not found:
            self._full_until = now + _FULL
        return found > 0

    def shed(self, most: int = 64) -> int:
        """Close the parked connections that have been idle longest; return how many."""
        parked = nsmallest(most, (c for c in self.connections if c.parked), key=lambda c: c.deadline)
        for connection in parked:
            connection.close()
        return len(parked)

    def drain(self) -> None:
        """From now on every connection ends with the answers that are due on it."""
        self.draining = True
        for connection in list(self.multiplexed):
            connection.drain()

    def break_off(self) -> None:
        """The process ends, and its sockets with it: what that would make look complete is reset."""
        for connection in list(self.unmarked):
            connection.reset()
