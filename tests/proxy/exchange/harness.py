"""The gateway's parts wired together in the test's own process, with both ends of every connection in its hands.

Nothing here waits for a clock: `settle` lets the event loop run until neither end has news, `late` makes every deadline
pass. The sockets are unix sockets: what one end sends is at the other when `send` returns. What the gateway writes is
read by h11, which shares no code with it.
"""

import gc
import itertools
import logging
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from time import monotonic
from typing import Any

import gevent
import h11

from proxy.admin.overrides import Overrides
from proxy.downstream.frontend import Frontend
from proxy.downstream.h1 import states
from proxy.downstream.h1.connection import Connection
from proxy.exchange.context import ExchangeContext, Waiting
from proxy.exchange.machine import Exchange
from proxy.exchange.states import TRANSITIONS
from proxy.exchange.tunnel import BUFFER_SIZE
from proxy.limits import Limits
from proxy.net.event_loop import Deadlines, Hub
from proxy.net.splice import Pipes
from proxy.observe.accesslog import AccessLog
from proxy.observe.log_formats import Combined
from proxy.observe.metrics import Board
from proxy.process.assembly import build_tables
from proxy.process.upstreams import Upstreams
from proxy.settings import RouteSettings, load
from proxy.wire.fields import RequestIds
from tests.proxy.exchange.freezing import Freezing
from tests.waiting import readable

_ROUNDS = 3
"""Rounds of the event loop in which nothing may happen before the gateway counts as settled."""
_SHORT, _PATIENCE = 0.01, 10.0  # seconds
_GRACE = 1.5
"""A little more than a client has to turn out to be gone (seconds)."""
_LATE = 10_000.0
"""Longer than any timeout (seconds)."""


def _client_connection() -> h11.Connection:
    return h11.Connection(h11.CLIENT)


def _server_connection() -> h11.Connection:
    return h11.Connection(h11.SERVER)


@dataclass(eq=False)
class ClientEnd:
    """A client of the gateway: what it asked, and what it got as h11 reads it."""

    sock: socket.socket
    reading: bool = True
    received: bytes = b""
    ended: bool = False

    def receive(self) -> bool:
        """Take what has come; whether there was any news."""
        if self.ended or not self.reading:
            return False
        data, self.ended = _receive(self.sock)
        self.received += data
        return bool(data) or self.ended

    def responses(self, methods: list[bytes]) -> tuple[list[tuple[int, bytes]], bool]:
        """Status and body of each complete response to requests of these methods; whether one more has begun."""
        done: list[tuple[int, bytes]] = []
        data = self.received
        for method in methods:
            reader = _client_connection()
            reader.send(h11.Request(method=method, target="/", headers=[("Host", "a"), ("Content-Length", "0")]))
            reader.send(h11.EndOfMessage())
            if data:
                reader.receive_data(data)
            if self.ended:
                reader.receive_data(b"")
            read = _read_response(reader)
            if read is None:
                return done, False
            status, body, complete = read
            if not complete:
                return done, True
            done.append((status, body))
            data = reader.trailing_data[0]
        return done, bool(data)


def _read_response(reader: h11.Connection) -> tuple[int, bytes, bool] | None:
    """Status, body so far and whether that is all of it; None before the head."""
    status, body = 0, b""
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError:  # the end came too early
            return (status, body, False) if status else None
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, body, True
        elif not isinstance(event, h11.InformationalResponse):
            return (status, body, False) if status else None


@dataclass(eq=False)
class UpstreamEnd:
    """A connection that the gateway has opened to the application, and the requests that came on it."""

    sock: socket.socket
    reader: h11.Connection = field(default_factory=_server_connection)
    requests: deque[tuple[bytes, bytes, bytes]] = field(default_factory=deque)
    """Method, target and body of each complete request that was not answered yet."""
    ended: bool = False
    closed: bool = False
    _head: h11.Request | None = None
    _body: bytes = b""

    def receive(self) -> bool:
        if self.ended or self.closed:
            return False
        data, self.ended = _receive(self.sock)
        if data:
            self.reader.receive_data(data)
        while True:
            event = self.reader.next_event() if self.reader.their_state in (h11.IDLE, h11.SEND_BODY) else h11.PAUSED
            if isinstance(event, h11.Request):
                self._head, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert self._head is not None
                self.requests.append((bytes(self._head.method), bytes(self._head.target), self._body))
            else:
                return bool(data) or self.ended

    def answered(self) -> None:
        """Its oldest request has had its response: the next may come."""
        self.requests.popleft()
        trailing = self.reader.trailing_data[0]
        self.reader = _server_connection()
        if trailing:
            self.reader.receive_data(trailing)

    def close(self) -> None:
        self.sock.close()
        self.closed = True


def _receive(sock: socket.socket) -> tuple[bytes, bool]:
    """What has come, and whether it was the end."""
    pieces = []
    try:
        while piece := sock.recv(1 << 20):
            pieces.append(piece)
    except BlockingIOError:
        return b"".join(pieces), False
    except OSError:
        pass
    return b"".join(pieces), True


class _Clock:
    """The gateway's clock: it goes on by itself, and can be put ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._clocked = [
            module
            for name, module in list(sys.modules.items())
            if name.startswith("proxy.") and getattr(module, "monotonic", None) is monotonic
        ]
        self._put(self._now)

    def _now(self) -> float:
        return monotonic() + self.ahead

    def _put(self, clock: Callable[[], float]) -> None:
        for module in self._clocked:
            module.monotonic = clock  # type: ignore[attr-defined]

    def take_away(self) -> None:
        self._put(monotonic)


class _CheckedState:
    """Stands in for the slot of an object's state, and notes each change that its table does not have."""

    def __init__(self, slot: Any, transitions: Mapping[Any, Container[Any]], violations: list[str]) -> None:
        self.slot = slot
        self._transitions = transitions
        self._violations = violations

    def __get__(self, owner: object | None, _owner: type | None = None) -> Any:
        return self if owner is None else self.slot.__get__(owner)

    def __set__(self, owner: object, state: Enum) -> None:
        try:
            before = self.slot.__get__(owner)
        except AttributeError:  # it is being made
            before = None
        if before is not None and state is not before and state not in self._transitions[before]:
            self._violations.append(f"{type(owner).__name__}: {before.name} to {state.name}")
        self.slot.__set__(owner, state)


@dataclass(eq=False)
class RecordedEnd:
    """A connection that the gateway has opened to the application, and every byte that came on it."""

    sock: socket.socket
    received: bytes = b""
    ended: bool = False
    closed: bool = False

    def receive(self) -> bool:
        if self.ended or self.closed:
            return False
        data, self.ended = _receive(self.sock)
        self.received += data
        return bool(data) or self.ended

    def close(self) -> None:
        self.sock.close()
        self.closed = True


_closed = itertools.count(1)


class Harness:
    """One worker's parts, before one upstream.

    Exchanges begin in the event loop's callbacks if `at_once`, else in a greenlet. `protocol` is what clients speak.
    """

    def __init__(
        self,
        *,
        at_once: bool,
        protocol: Callable[..., object] = Connection,
        scheme: bytes = b"http",
        upstream_end: Callable[[socket.socket], Any] = UpstreamEnd,
        mounted: str = "",
        **flags: Any,
    ) -> None:
        """`mounted` is the path of a route beside the default one, with the same settings."""
        self._directory = tempfile.TemporaryDirectory()
        path = f"{self._directory.name}/upstream"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._listener.setblocking(False)
        settings = load({"upstream": [f"unix:{path}"], "access_log": "off", **flags})
        if mounted:
            settings = replace(settings, routes=(RouteSettings("mounted", (), mounted, False, settings),))
        self.violations: list[str] = []
        """Changes of state, of exchanges and connections, that their tables do not have."""
        self._slot = Exchange.__dict__["state"]
        self._connection_slot = Connection.__dict__["state"]
        Exchange.state = _CheckedState(self._slot, TRANSITIONS, self.violations)  # type: ignore[assignment]
        self._clock = _Clock()
        self._freezing = Freezing()
        self.hub = Hub()
        self.deadlines = Deadlines()
        self.board = Board()
        slot = self.board.take(())
        log = AccessLog(None, Combined(), lambda lines: None)
        context = ExchangeContext(
            self.hub,
            self.deadlines,
            Pipes(),
            memoryview(bytearray(BUFFER_SIZE)),
            self.board.counters(slot),
            log,
            RequestIds(),
            {},
            Waiting(),
            Limits(16, 2).worker(0),
        )
        self._upstreams = Upstreams(context, logging.getLogger(__name__), self.board)
        tables = build_tables(settings, self._upstreams, Overrides(), lambda: False)
        self._upstreams.commit(tables)
        self.front = Frontend(tables, context, protocol, scheme, b"80", inline=at_once)
        self._context = context
        self.clients: list[ClientEnd] = []
        self._upstream_end = upstream_end
        self.upstreams: list[Any] = []

    def check_connections(self) -> None:
        """Note what connections do against their table too, from here on."""
        slot = self._connection_slot = Connection.__dict__["state"]
        checked = _CheckedState(slot, states.TRANSITIONS, self.violations)
        Connection.state = checked  # type: ignore[assignment]

    def connect(self) -> ClientEnd:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        client = ClientEnd(far)
        self.clients.append(client)
        self._in_loop(self.front.accept, near, "127.0.0.1")
        return client

    def _in_loop(self, call: Callable[..., object], *arguments: object) -> None:
        """Where the gateway itself makes such calls: from a greenlet the loop's own switches would not come back."""
        self.hub.loop.run_callback(call, *arguments)
        self.settle()

    def leave(self, client: ClientEnd) -> None:
        """A client closes, and the moment passes in which it might only have finished sending."""
        client.sock.close()
        self.clients.remove(client)
        self.settle()
        self._clock.ahead += _GRACE
        self._in_loop(self.deadlines.sweep)

    def settle(self) -> None:
        """Let the gateway do all that it can do now."""
        quiet = 0
        while quiet < _ROUNDS:
            gevent.idle()
            quiet = 0 if self._news() else quiet + 1

    def repeats(self, target: bytes) -> None:
        """Await that the gateway asks once more for a target, after its pause."""
        with gevent.Timeout(_PATIENCE):
            while not any(target == request[1] for end in self.upstreams if not end.closed for request in end.requests):
                gevent.sleep(_SHORT)  # the gateway pauses by its own clock before it asks again
                self.settle()

    def _news(self) -> bool:
        news = False
        while readable(self._listener, 0):
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self.upstreams.append(self._upstream_end(sock))
            news = True
        for end in [*self.upstreams, *self.clients]:
            news = end.receive() or news
        return news

    def late(self) -> None:
        """Every deadline passes; swept twice, because some are handed to a greenlet at first."""
        self._clock.ahead += _LATE
        self._in_loop(self.deadlines.sweep)
        self._in_loop(self.deadlines.sweep)

    @property
    def finished(self) -> int:
        """Requests that have been answered and counted."""
        return sum(slot.traffic().requests for slot in self.board.slots())

    @property
    def busy(self) -> int:
        """Connections to the upstream that an exchange has."""
        return sum(pool.busy for pool in self._upstreams.pools)

    def close(self) -> None:
        """All clients leave, then the upstream."""
        for client in self.clients:
            client.sock.close()
        self.clients.clear()
        self.settle()
        self.late()  # a client that closes gets a moment to turn out to be gone
        for end in self.upstreams:
            end.close()
        for pool in self._upstreams.pools:
            pool.close()
        self.settle()
        self._listener.close()
        Exchange.state = self._slot
        Connection.state = self._connection_slot
        self._clock.take_away()
        self._freezing.take_away()
        self._directory.cleanup()
        self.front._idle.clear()  # a greenlet that waits keeps all that it knows, descriptors too
        if next(_closed) % 50 == 0:  # so do parts that know each other, until they are collected
            gc.collect()
