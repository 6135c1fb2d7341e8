"""One worker process: the one place where everything is built and wired, and where a worker drains.

The process runs one event loop. Everything here happens in that loop's callbacks or in greenlets; nothing is patched.
Once a second a tick sweeps the deadlines, samples the gauges and tells the master that this worker lives.
"""

import gc
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from time import monotonic, time
from types import FrameType
from typing import Any

import gevent
from gevent.event import Event
from gunicorn.workers.base import Worker as BaseWorker

from proxy.acme.renewal import Renewals
from proxy.acme.state import State
from proxy.admin.admin import Admin
from proxy.admin.exchange import answer_admin
from proxy.admin.report import report
from proxy.downstream.frontend import Frontend
from proxy.downstream.h1.connection import Connection
from proxy.downstream.http_redirect import plain_tables
from proxy.downstream.protocol_detection import ProtocolDetection
from proxy.downstream.tls_handshake import Handshakes
from proxy.exchange.context import ExchangeContext, Waiting
from proxy.exchange.downstream import Downstream
from proxy.exchange.machine import Exchange
from proxy.exchange.request import Request
from proxy.exchange.route import Route, Tables
from proxy.exchange.tunnel import BUFFER_SIZE, GOING_AWAY, SERVICE_RESTART
from proxy.net.certificate_set import Faults, expiries
from proxy.net.event_loop import Deadlines, Hub
from proxy.net.listener import Listener
from proxy.net.sockets import Socket
from proxy.net.splice import Pipes
from proxy.net.spool import room
from proxy.net.tls_contexts import ignore_unreadable_names
from proxy.observe.accesslog import AccessLog
from proxy.observe.metrics import Gauge
from proxy.observe.recent import Recent
from proxy.process.assembly import Upstreams, build_tables, link_successor
from proxy.settings import Settings
from proxy.wire.fields import RequestIds

_TICK = 1.0
_SHORTAGE = 10.0  # seconds between two warnings that descriptors ran out
_PARKED_GRACE = 1.0
"""Seconds after the start of a drain in which a parked connection may still bring a request that was on its way."""


def _port(sock: socket.socket, default: int) -> int:
    """The port that clients see; on a unix socket they came to the default one of whoever is in front."""
    return int(sock.getsockname()[1]) if sock.family != socket.AF_UNIX else default


def _cleartext(sock: Socket, front: Frontend, client: str) -> None:
    """Begin with a connection without TLS, as the settings of the moment say."""
    protocol = ProtocolDetection if front.tables.settings.h2c else Connection
    protocol(sock, front, client)


class Worker(BaseWorker):  # type: ignore[misc]
    """A gateway worker under gunicorn's arbiter; see `proxy.process.supervisor` for what it finds in `self.app`."""

    slot: int
    channel: Any

    # Signals. They are set up before the loop runs, and only leave a note; the loop acts on it.

    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(signal.SIGHUP, self.handle_hup)
        # The base class' wake-up descriptor would fill up: here the loop itself notices signals.
        signal.set_wakeup_fd(-1)
        self._reload_wanted = False
        self._logs_wanted = False

    def handle_hup(self, _signal: int, _frame: FrameType | None) -> None:
        self._reload_wanted = True

    def handle_usr1(self, _signal: int, _frame: FrameType | None) -> None:
        self._logs_wanted = True

    def handle_quit(self, _signal: int, _frame: FrameType | None) -> None:
        os._exit(0)

    def _watch_signals(self, hub: Hub) -> list[Any]:
        """From here on signals come as callbacks of the loop."""
        actions = {
            signal.SIGHUP: self._reload,
            signal.SIGTERM: self._begin_drain,
            signal.SIGQUIT: self._stop_now,
            signal.SIGINT: self._stop_now,
            signal.SIGUSR1: self._take_logs,
        }
        watchers = []
        for number, action in actions.items():
            watcher = hub.loop.signal(number)
            watcher.start(action)
            watchers.append(watcher)
        return watchers

    # Wiring.

    def run(self) -> None:
        settings: Settings = self.app.settings
        hub = Hub()
        counters = self.app.board.counters(self.slot)
        self._recent = Recent()
        self._access_log = AccessLog(self.app.logs.access, settings.log_format, counters.log_lost, self._recent.take)
        self._context = ExchangeContext(
            hub,
            Deadlines(),
            Pipes(),
            memoryview(bytearray(BUFFER_SIZE)),
            counters,
            self._access_log,
            RequestIds(),
            {},
            Waiting(),
            self.app.limits.worker(self.slot),
        )
        room.share(counters.spooled, self.app.board.spooled, counters.spool_refused)
        room.most = settings.spool_total
        self._upstreams = Upstreams(self._context, self.log)
        overrides = self.app.overrides.get()
        self._tables = build_tables(settings, self._upstreams, overrides, self._is_draining)
        self._upstreams.commit(self._tables)
        counters.gauge(Gauge.OVERRIDES, overrides.version)
        self._admin = Admin(
            self.app.board,
            self.app.reports,
            self.app.overrides,
            self.app.version,
            lambda: self.app.settings,
            lambda: self._certificate_faults,
            self.app.token,
        )
        self._stopped = Event()
        self._workers = self.app.board.alive()
        self._draining = False
        self._shed = 0
        self._shortage_told = -_SHORTAGE
        self._fronts: list[Frontend] = []
        self._plain_fronts: list[Frontend] = []
        self._certificates_turn = 0
        self._certificate_faults: Faults = ()
        self._renewals: Renewals | None = None
        ignore_unreadable_names()
        self._furnish()
        self._renew()
        self._listeners = [self._listen(wrapped) for wrapped in self.sockets]
        signals = self._watch_signals(hub)
        writer = gevent.spawn(self._access_log.run)
        tick = hub.loop.timer(_TICK, _TICK)
        tick.start(self._tick)
        gc.collect()
        gc.freeze()
        # Requests make no cycles: collecting after each 700 allocations, the default, only looks at live connections.
        gc.set_threshold(50_000, 20, 100)
        for listener in self._listeners:
            listener.start()
        if self._logs_wanted:
            self._take_logs()
        if self._reload_wanted:
            self._reload()
        if not self.alive:  # TERM came before the loop listened
            self._begin_drain()
        self._stopped.wait()
        for front in self._fronts:
            front.break_off()
        tick.stop()
        for watcher in signals:
            watcher.stop()
        writer.kill()
        self._access_log.close()

    def _listen(self, wrapped: Any) -> Listener:
        sock: socket.socket = wrapped.sock
        is_admin, is_plain = self.app.is_admin(wrapped), self.app.is_plain(wrapped)
        secure = self.app.settings.secure and not is_admin and not is_plain
        port = _port(sock, 443 if secure else 80)
        answer = partial(self._answer_admin, wrapped) if is_admin else self._answer
        protocol, scheme = self._protocol(is_admin=is_admin, secure=secure)
        front = Frontend(
            self._tables,
            self._context,
            answer,
            protocol,
            scheme,
            b"%d" % port,
            at_once=not is_admin,
            introduced=not is_admin,
        )
        self._fronts.append(front)
        if is_plain:
            self._plain_fronts.append(front)
            front.tables = self._plain_tables()
        return Listener(sock, self._context.hub, front.accept, self._exhausted, self._yields, self._batch())

    def _batch(self) -> int:
        """Connections that a listener may take at a turn: few where other workers wait on the same socket."""
        return 64 if self.app.settings.workers == 1 else 2

    def _protocol(self, *, is_admin: bool, secure: bool) -> tuple[Callable[[Socket, Frontend, str], object], bytes]:
        """What a listener's connections begin with, and the scheme of their requests."""
        settings: Settings = self.app.settings
        if secure:
            state = State(settings.state_dir, settings.acme_directory) if settings.acme and settings.state_dir else None
            return Handshakes(
                self.app.certificate_store.tls_contexts, state.validation_context if state else None
            ).begin, b"https"
        return Connection if is_admin else _cleartext, b"http"

    def _renew(self) -> None:
        """Look after the certificates that these settings want obtained."""
        settings: Settings = self.app.settings
        if self._renewals is not None:
            if self._renewals.serve(settings):
                return
            self._renewals.stop()
        self._renewals = Renewals(settings, f"aragora-proxy/{self.app.version}", self.log) if settings.acme else None

    def _plain_tables(self) -> Tables:
        """What is served without TLS beside it."""
        secure = [
            wrapped.sock
            for wrapped in self.sockets
            if not self.app.is_admin(wrapped) and not self.app.is_plain(wrapped)
        ]
        return plain_tables(self._tables, _port(secure[0], 443) if secure else 443)

    def _furnish(self) -> None:
        """Serve the certificates that the master has found good, if they or what their dates say is new."""
        turn, tls_contexts = self.app.certificate_store.turn, self.app.certificate_store.tls_contexts
        if turn == self._certificates_turn and not tls_contexts.stale:
            return
        self._certificates_turn = turn
        certificate_set = self.app.certificate_store.get()
        try:
            refused = tls_contexts.install(certificate_set)
        except OSError as error:
            self.log.warning("certificates not changed: %s", error)
            return
        left_out = tuple((pair.name, f"is not served: OpenSSL refuses it: {fault}") for pair, fault in refused)
        for name, fault in left_out:
            self.log.warning("certificate %s: %s", name, fault)
        self._certificate_faults = certificate_set.faults + left_out
        counters = self._context.counters
        counters.see_certificates(expiries(tls_contexts.served))
        counters.gauge(Gauge.CERTIFICATE_FAULTS, len(self._certificate_faults))

    def _answer(self, connection: Downstream, request: Request, route: Route | None) -> None:
        Exchange(route, self._context, connection, request).drive_blocking()

    def _answer_admin(self, listener: Any, connection: Downstream, request: Request, _route: Route | None) -> None:
        proven = self.app.is_private(listener)
        answer_admin(self._admin, connection, request, self.app.settings, proven=proven)

    def _is_draining(self) -> bool:
        return self._draining

    def _yields(self) -> bool:
        """Whether this worker holds more than its share of the clients."""
        if len(self._workers) < 2:
            return False
        counts: list[int] = self.app.board.open_connections(self._workers)
        return self._context.counters.open_connections() * len(counts) > sum(counts)

    def _exhausted(self) -> None:
        """Descriptors ran out: idle connections make room. Told now and then, however often it happens."""
        self._shed += sum(front.shed() for front in self._fronts)
        if monotonic() >= self._shortage_told + _SHORTAGE:
            self._shortage_told = monotonic()
            self.log.warning(
                "out of file descriptors: closed %d idle connections; raise the limit (ulimit -n)", self._shed
            )
            self._shed = 0

    # Once a second.

    def _tick(self) -> None:
        self.notify()
        if self.ppid != os.getppid():
            self.log.info("the master is gone, draining")
            self._begin_drain()
        self._workers = self.app.board.alive()
        self._furnish()
        context = self._context
        context.deadlines.sweep()
        counters = context.counters
        counters.sample()
        connections = sum(len(front.connections) for front in self._fronts)
        serving = sum(front.serving for front in self._fronts)
        for front in self._fronts:
            front.trim()
        counters.gauge(Gauge.TUNNELS, len(context.tunnels))
        counters.gauge(Gauge.ACTIVE, serving)
        counters.gauge(Gauge.PARKED, max(0, connections - serving - len(context.tunnels)))
        counters.gauge(Gauge.HELD, context.held.count)
        pools = self._upstreams.pools
        counters.gauge(Gauge.UPSTREAM_IDLE, sum(pool.idle_count for pool in pools))
        counters.gauge(Gauge.UPSTREAM_BUSY, sum(pool.busy for pool in pools))
        counters.gauge(Gauge.QUEUED, self._upstreams.queued(self._tables))
        counters.see_peers(self._upstreams.snapshots(self._tables))
        self._recent.forget(time())
        if self.app.reports.wanted:
            self.app.reports.publish(self.slot, report(context.tunnels, self._recent))

    # Reload and drain.

    def _reload(self) -> None:
        """Swap to the settings that the master checked, and the orders in force.

        Exchanges and tunnels under way keep what they began with.
        """
        settings, overrides = self.app.reloaded(), self.app.overrides.get()
        self._take_logs()
        room.most = settings.spool_total
        old, self._tables = self._tables, build_tables(settings, self._upstreams, overrides, self._is_draining)
        link_successor(old, self._tables)
        self._furnish()
        self._renew()
        for listener in self._listeners:
            listener.batch = self._batch()
        for front in self._fronts:
            front.tables = self._plain_tables() if front in self._plain_fronts else self._tables
        self._upstreams.commit(self._tables)
        counters = self._context.counters
        counters.see_peers(self._upstreams.snapshots(self._tables))  # before the version: who waits for it reads them
        counters.gauge(Gauge.OVERRIDES, overrides.version)
        counters.reloaded()

    def _take_logs(self) -> None:
        """Go on in the log files that the master has opened last."""
        try:
            logs = self.channel.receive()
            if logs is not None:
                self.app.write_to(logs)
            self._access_log.change(self.app.logs.access, self.app.settings.log_format)
        except OSError as error:
            self.log.warning("the log files from before are written to: %s", error.strerror)

    def _begin_drain(self) -> None:
        if not self._draining:
            self._draining = True
            self.alive = False
            gevent.spawn(self._drain)

    def _stop_now(self) -> None:
        """End with what is under way unfinished; the log is still written."""
        self.alive = False
        self._stopped.set()

    def _drain(self) -> None:
        """Accept those who have come, nobody more, and finish what is under way, within `graceful` seconds.

        Whoever waits for being accepted has connected and may have asked: closing the socket would reset him.
        """
        settings: Settings = self.app.settings
        end = monotonic() + settings.graceful
        self._context.counters.gauge(Gauge.DRAINING, 1)
        if self._renewals is not None:
            self._renewals.stop()
        for listener, wrapped in zip(self._listeners, self.sockets, strict=True):
            listener.finish()
            wrapped.sock.close()
        for front in self._fronts:
            front.drain()
        gevent.spawn(self._close_tunnels, min(settings.websocket_drain, settings.graceful))
        parked_until = monotonic() + min(_PARKED_GRACE, settings.graceful / 2)
        while monotonic() < end and self._busy(parked_until):
            gevent.sleep(0.05)
        self._stopped.set()

    def _busy(self, parked_until: float) -> bool:
        if monotonic() < parked_until:
            return any(front.connections for front in self._fronts)
        for front in self._fronts:
            front.shed(len(front.connections))
        return any(front.connections for front in self._fronts)

    def _close_tunnels(self, seconds: float) -> None:
        """Tell WebSockets to go, spread over `seconds` so that their clients do not all come back at once."""
        tunnels = list(self._context.tunnels)
        pause = seconds * 0.8 / len(tunnels) if tunnels else 0.0
        for tunnel in tunnels:
            tunnel.shut(GOING_AWAY if self.app.board.stopping else SERVICE_RESTART, max(1.0, seconds * 0.2))
            gevent.sleep(pause)
