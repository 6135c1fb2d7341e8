"""The frontends of one worker: for each listener what its connections share, and the accepting itself."""

import socket
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any

from proxy.acme.on_demand import OnDemand
from proxy.acme.pending_challenges import PendingChallenges
from proxy.downstream.frontend import Frontend, Opening
from proxy.downstream.h1.connection import Connection
from proxy.downstream.http_redirect import plain_tables
from proxy.downstream.protocol_detection import detect_protocol
from proxy.downstream.proxy_header import expect_proxy_header
from proxy.downstream.tls_handshake import Handshakes
from proxy.exchange.context import ExchangeContext
from proxy.exchange.machine import Exchange
from proxy.exchange.route import Tables
from proxy.net.event_loop import Watcher
from proxy.net.listener import Listener
from proxy.net.sockets import Socket
from proxy.process.shared import Shared

_SHORTAGE = 10.0  # seconds between two warnings that descriptors ran out
_BATCH_ALONE, _BATCH_SHARED = 64, 2
"""Connections that a listener may take at a turn: few where other workers wait on the same socket."""


class Frontends:
    """All of them. `sockets` are gunicorn's, open since before the fork."""

    def __init__(
        self,
        shared: Shared,
        context: ExchangeContext,
        sockets: Sequence[Any],
        tables: Tables,
        admin_tables: Callable[[Any, Tables], Tables],
        on_demand: OnDemand | None,
        log: Any,
    ) -> None:
        """`admin_tables` are the routes of a listener for the admin address or commands, made from the others';
        `on_demand` orders certificates for names that have none."""
        self._on_demand = on_demand
        self._shared = shared
        self._context = context
        self._sockets = sockets
        self._log = log
        self._workers = shared.board.alive()
        self._shed = 0
        self._warned = -_SHORTAGE
        self._admin_tables = admin_tables
        self.all: list[Frontend] = []
        self._listeners: list[Listener] = []
        for wrapped in sockets:
            self._listen(wrapped, tables)

    def _listen(self, wrapped: Any, tables: Tables) -> None:
        sock: socket.socket = wrapped.sock
        is_plain, is_admin = self._is_plain(wrapped), self._shared.listeners.is_admin(wrapped)
        secure = self._shared.settings.secure and not is_admin and not is_plain
        protocol, scheme = self._protocol(is_admin=is_admin, secure=secure)
        front = Frontend(
            self._tables_of(wrapped, tables),
            self._context,
            protocol,
            scheme,
            b"%d" % _port(sock, 443 if secure else 80),
            proxy_header=None if is_admin else expect_proxy_header,
            inline=not is_admin,
        )
        self.all.append(front)
        batch = _batch(self._shared.settings.workers)
        self._listeners.append(
            Listener(sock, self._context.hub, front.accept, self._exhausted, self._has_more_than_its_share, batch)
        )

    def start(self) -> None:
        """Accept connections from now on."""
        for listener in self._listeners:
            listener.start()

    def serve(self, tables: Tables) -> None:
        """Serve new routes; exchanges in flight keep theirs."""
        for front, wrapped in zip(self.all, self._sockets, strict=True):
            front.apply(self._tables_of(wrapped, tables))
        for listener in self._listeners:
            listener.batch = _batch(tables.settings.workers)

    def trim(self) -> None:
        """Once a second: note which siblings live, and release what a past peak has left."""
        self._workers = self._shared.board.alive()
        for front in self.all:
            front.trim()

    def drain(self) -> None:
        """Accept the connections already in the backlog, then no more: closing a listener resets those queued on it."""
        for listener, wrapped in zip(self._listeners, self._sockets, strict=True):
            listener.finish()
            wrapped.sock.close()
        for front in self.all:
            front.drain()

    def break_off(self) -> None:
        """The process ends: reset what the end of its sockets would make look complete."""
        for front in self.all:
            front.break_off()

    def close_parked(self) -> None:
        """Close all connections without a request in flight."""
        for front in self.all:
            front.shed(len(front.connections))

    def exchanges(self) -> Iterator[Exchange]:
        """Those under way."""
        for front in self.all:
            yield from front.exchanges()

    @property
    def connections(self) -> int:
        """Open connections, those that became tunnels included."""
        return sum(len(front.connections) + front.waiting for front in self.all)

    @property
    def serving(self) -> int:
        """Connections with a request in flight."""
        return sum(front.serving for front in self.all)

    def _is_plain(self, wrapped: Any) -> bool:
        return self._shared.listeners.is_plain(wrapped, self._shared.settings)

    def _tables_of(self, wrapped: Any, tables: Tables) -> Tables:
        """The routes of a listener."""
        if self._shared.listeners.is_admin(wrapped):
            return self._admin_tables(wrapped, tables)
        return self._plain_tables(tables) if self._is_plain(wrapped) else tables

    def _plain_tables(self, tables: Tables) -> Tables:
        """The routes of the listeners without TLS, if others have it."""
        listeners = self._shared.listeners
        secure = [one.sock for one in self._sockets if not listeners.is_admin(one) and not self._is_plain(one)]
        return plain_tables(tables, _port(secure[0], 443) if secure else 443)

    def _protocol(self, *, is_admin: bool, secure: bool) -> tuple[Opening, bytes]:
        """What a listener's connections begin with, and the scheme of their requests."""
        settings = self._shared.settings
        if secure:
            pending = PendingChallenges(settings) if settings.acme else None
            validation = None if pending is None else pending.validation_context
            waits = pending is not None and pending.waits
            contexts = self._shared.certificates.tls_contexts
            return Handshakes(contexts, validation, self._on_demand, validation_waits=waits).begin, b"https"
        return Connection if is_admin else _cleartext, b"http"

    def _has_more_than_its_share(self) -> bool:
        """Whether this worker has more connections than its siblings have on average."""
        if len(self._workers) < 2:
            return False
        counts: list[int] = self._shared.board.open_connections(self._workers)
        return self._context.counters.open_connections() * len(counts) > sum(counts)

    def _exhausted(self) -> None:
        """Out of descriptors: close idle connections. The warning is rate-limited."""
        self._shed += sum(front.shed() for front in self.all)
        if monotonic() >= self._warned + _SHORTAGE:
            self._warned = monotonic()
            self._log.warning(
                "out of file descriptors: closed %d idle connections; raise the limit (ulimit -n)", self._shed
            )
            self._shed = 0


def _port(sock: socket.socket, default: int) -> int:
    """The port that clients see; for a unix socket the default one of the proxy in front."""
    return int(sock.getsockname()[1]) if sock.family != socket.AF_UNIX else default


def _batch(workers: int) -> int:
    return _BATCH_ALONE if workers == 1 else _BATCH_SHARED


def _cleartext(sock: Socket, front: Frontend, client: str, watcher: Watcher | None) -> None:
    """Begin with a connection without TLS, as the settings of the moment say."""
    opening: Opening = detect_protocol if front.tables.settings.h2c else Connection
    opening(sock, front, client, watcher)
