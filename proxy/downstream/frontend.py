"""What the connections of one listener share, and the greenlets that serve them."""

import logging
from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest
from time import monotonic
from typing import Final, Protocol

import gevent
from greenlet import getcurrent, greenlet

from proxy.downstream.connection_limit import ConnectionLimit
from proxy.downstream.request_builder import RequestBuilder
from proxy.exchange.context import ExchangeContext
from proxy.exchange.machine import Exchange
from proxy.exchange.route import Tables
from proxy.log import log
from proxy.net.client_certificate import ClientCertificate
from proxy.net.event_loop import Watcher
from proxy.net.sockets import Socket
from proxy.net.tls_socket import TlsSocket
from proxy.wire.fields import Clock

_SHARE: Final = 64
"""One of so many connections makes room when the limit is reached."""

_FULL: Final = 0.05
"""Seconds for which new connections are turned away without a search after one has found none idle."""


class ClientConnection(Protocol):
    """A client's connection, whatever it speaks."""

    deadline: float

    @property
    def parked(self) -> bool:
        """Whether no request is in flight on it."""

    @property
    def detached(self) -> bool:
        """Whether it was left to a tunnel."""

    def exchanges(self) -> Iterable[Exchange]:
        """Those under way on it."""

    def expire(self) -> None:
        """Its deadline has passed."""

    def close(self) -> None: ...


class Multiplexed(Protocol):
    """A connection that carries several requests at a time."""

    def drain(self) -> None:
        """Tell the client that no more requests are taken."""


class CloseDelimited(Protocol):
    """A connection with a response on it whose end only the end of the connection shows."""

    def reset(self) -> None: ...


class Serving(Protocol):
    """What a greenlet serves: a connection, or a stream of one."""

    def serve(self) -> None:
        """Serve the requests that are here. Raises nothing."""


Opening = Callable[[Socket, "Frontend", str, Watcher | None], object]
"""Begins with an accepted socket, whose peer has this address, and its read watcher if it has one already."""


class Frontend:
    """What the connections of one listener share.

    `opening` makes a connection of an accepted socket.
    `proxy_header` is what reads a PROXY protocol header before that, where the settings ask for one; without it, as on
    the admin address, connections are not counted for their clients either.
    """

    def __init__(
        self,
        tables: Tables,
        context: ExchangeContext,
        opening: Opening,
        scheme: bytes,
        port: bytes,
        *,
        proxy_header: Opening | None = None,
        inline: bool = False,
    ) -> None:
        self.context = context
        self._opening = opening
        self._proxy_header = proxy_header
        self.requests = RequestBuilder(context, scheme, port)
        self.inline = inline
        """Whether exchanges begin in the loop's callbacks."""
        self.clock = Clock()
        self.connection_limit = ConnectionLimit(context.limits)
        self.draining = False
        self.connections: set[ClientConnection] = set()
        context.deadlines.include(self.connections)
        self.multiplexed: set[Multiplexed] = set()
        self.close_delimited: set[CloseDelimited] = set()
        self.waiting = 0
        """Accepted connections that are not served before other gateways are known to leave room for them."""
        self.streams = 0
        """HTTP/2 streams under way on all of them."""
        self._idle: list[greenlet] = []
        self._handed_over: Serving | None = None
        """What the greenlet that is switched to serves; an argument would stay referred to as long as it runs."""
        self._greenlets = 0
        self._full_until = 0.0
        self.apply(tables)

    def apply(self, tables: Tables) -> None:
        """Serve by these tables from now on; a request keeps those it began with."""
        self.tables = tables
        self.logs_states = log.isEnabledFor(logging.DEBUG)
        """Whether connections log each change of their state."""

    def accept(self, sock: Socket, client: str) -> None:
        """Take a new connection; over the limit, those that have been idle longest make room."""
        if len(self.connections) >= self.tables.settings.max_connections and not self._make_room():
            sock.close()
            return
        self.context.counters.accepted()
        if self._proxy_header is not None and self.tables.settings.proxy_protocol:
            self._proxy_header(sock, self, client, None)
        else:
            self.admit(sock, client)

    def admit(self, sock: Socket, client: str, watcher: Watcher | None = None) -> None:
        """Serve a connection whose client is known by now."""
        most = self.tables.settings.max_client_connections
        counted = most and self._proxy_header is not None and not self.tables.trusted.trusts(client)
        if counted:
            limit, descriptor = self.connection_limit, sock.fileno()
            admitted = limit.acquire(descriptor, client, most)
            waits = admitted and limit.must_wait(descriptor, client, most)
            if (waits or not admitted) and watcher is not None:
                watcher.stop()
                watcher.close()
            if waits:
                self.waiting += 1
                gevent.spawn(self._admit_later, sock, client, most)
                return
            if not admitted:
                self._turn_away(sock)
                return
        self._opening(sock, self, client, watcher)

    def _admit_later(self, sock: Socket, client: str, most: int) -> None:
        """Serve a connection once it is known whether other gateways leave room for it; in a greenlet of its own."""
        if self.connection_limit.wait(sock.fileno(), client, most):
            self.context.hub.loop.run_callback(self._open_waiting, sock, client)
        else:
            self.waiting -= 1
            self._turn_away(sock)

    def _open_waiting(self, sock: Socket, client: str) -> None:
        self.waiting -= 1
        self._opening(sock, self, client, None)

    def _turn_away(self, sock: Socket) -> None:
        self.ended(sock.fileno())
        sock.close()

    def requests_of(self, sock: Socket | TlsSocket) -> RequestBuilder:
        """What makes the requests of a connection: its own where clients are asked for certificates."""
        if self.tables.settings.tls_client_ca is None or not isinstance(sock, TlsSocket):
            return self.requests
        return self.requests.of(ClientCertificate(sock.peer_certificate))

    def ended(self, descriptor: int) -> None:
        """The connection with this descriptor, which is still open, is about to be closed."""
        self.context.counters.ended()
        self.connection_limit.release(descriptor)

    def resume(self, served: Serving) -> None:
        """Have an idle greenlet serve something. Called from the loop, not from a greenlet."""
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = greenlet(self._work, self.context.hub.greenlet)
            self._greenlets += 1
        self._handed_over = served
        worker.switch()

    def _work(self) -> None:
        hub_switch = self.context.hub.switch
        while True:
            served, self._handed_over = self._handed_over, None
            assert served is not None
            served.serve()
            del served  # nothing of a client waits in memory for the next one
            self._idle.append(getcurrent())
            hub_switch()

    def trim(self) -> None:
        """Drop some of the idle greenlets; called once a second, so that a past peak is gone within a minute."""
        surplus = len(self._idle) // 16
        self._greenlets -= surplus
        del self._idle[:surplus]

    def exchanges(self) -> Iterator[Exchange]:
        """Those under way on all connections, tunnels excepted."""
        for connection in self.connections:
            if not connection.parked and not connection.detached:
                yield from connection.exchanges()

    @property
    def serving(self) -> int:
        """Connections with a request in flight."""
        return sum(not connection.parked and not connection.detached for connection in self.connections)

    def _make_room(self) -> bool:
        """Whether room could be made for a connection.

        A search looks at every connection. One that finds any makes room for the next new connections too, and one in
        vain is not repeated at once: a client that connects without end would keep the worker searching.
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
        """From now on every connection ends with the responses that are due on it."""
        self.draining = True
        for connection in list(self.multiplexed):
            connection.drain()

    def break_off(self) -> None:
        """The process ends, and its sockets with it: reset those whose end would make a response look complete."""
        for connection in list(self.close_delimited):
            connection.reset()
