"""One worker process: the one place where its parts are built and wired.

The process runs one event loop. Everything here happens in that loop's callbacks or in greenlets; nothing is patched.
Once a second a tick sweeps the deadlines, samples the gauges and tells the master that this worker lives.
"""

import gc
import os
import signal
from types import FrameType
from typing import Any

import gevent
from gunicorn.workers.base import Worker as BaseWorker

from proxy.admin.admin import Admin
from proxy.admin.commands import Trial
from proxy.admin.route import admin_tables
from proxy.admin.services import with_domains
from proxy.exchange.context import ExchangeContext, Waiting
from proxy.exchange.route import Tables
from proxy.exchange.tunnel import BUFFER_SIZE
from proxy.net.event_loop import Deadlines, Hub
from proxy.net.splice import Pipes
from proxy.net.spool import room
from proxy.net.tls_contexts import ignore_unreadable_names
from proxy.observe.accesslog import AccessLog
from proxy.observe.exchange_counters import UNROUTED
from proxy.observe.log_formats import ADMIN
from proxy.observe.numbers import Gauge
from proxy.observe.recent import Recent
from proxy.observe.spans import Spans
from proxy.process.assembly import build_tables, link_successor
from proxy.process.certificate_refresh import CertificateRefresh
from proxy.process.drain import Drain
from proxy.process.frontends import Frontends
from proxy.process.listeners import url
from proxy.process.sampling import Sampling
from proxy.process.shared import Seat, Shared
from proxy.process.upstreams import Upstreams
from proxy.process.worker_logs import WorkerLogs, format_of
from proxy.settings import Address, RouteSettings, Settings
from proxy.wire.fields import RequestIds

_TICK = 1.0


class Worker(BaseWorker):  # type: ignore[misc]
    """A gateway worker under gunicorn's arbiter, which sets `shared` and `seat` before the fork."""

    shared: Shared
    seat: Seat
    log: Any

    # Signals. Their handlers are set before the loop runs, and only leave a note for it.

    def init_signals(self) -> None:
        super().init_signals()
        self._noted: set[int] = set()
        signal.signal(signal.SIGHUP, self._note)
        # The base class's wake-up descriptor would fill up: here the loop itself handles signals.
        signal.set_wakeup_fd(-1)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._noted.add(number)

    def handle_usr1(self, number: int, frame: FrameType | None) -> None:
        self._note(number, frame)

    def handle_quit(self, _number: int, _frame: FrameType | None) -> None:
        os._exit(0)

    def _watch_signals(self) -> list[Any]:
        """From here on signals come as callbacks of the loop; those noted until now are acted on."""
        actions = {
            signal.SIGUSR1: self._take_logs,
            signal.SIGHUP: self._reload,
            signal.SIGTERM: self._begin_drain,
            signal.SIGQUIT: self._stop_now,
            signal.SIGINT: self._stop_now,
        }
        watchers = []
        for number, action in actions.items():
            watcher = self._context.hub.loop.signal(number)
            watcher.start(action)
            watchers.append(watcher)
        return watchers

    def _act_on_noted(self) -> None:
        if signal.SIGUSR1 in self._noted:
            self._take_logs()
        if signal.SIGHUP in self._noted:
            self._reload()
        if not self.alive:  # TERM came before the loop ran
            self._begin_drain()

    # Wiring.

    def run(self) -> None:
        self._build_context()
        self._build_routes()
        self._build_frontends()
        signals = self._watch_signals()
        access_log = self._context.access_log
        writers = [gevent.spawn(access_log.run), gevent.spawn(self._spans.run)]
        tick = self._context.hub.loop.timer(_TICK, _TICK)
        tick.start(self._tick)
        gc.collect()
        gc.freeze()
        # Requests make no cycles: collecting after each 700 allocations, the default, only looks at live connections.
        gc.set_threshold(50_000, 20, 100)
        if self._context.limits.link is not None:
            self._context.limits.link.settle()
        self._frontends.start()
        self._act_on_noted()
        self._drain.finished.wait()
        self._frontends.break_off()
        tick.stop()
        for watcher in signals:
            watcher.stop()
        gevent.killall(writers)
        access_log.close()
        self._spans.close()

    def _build_context(self) -> None:
        """What all exchanges share, and the logs."""
        shared, slot = self.shared, self.seat.slot
        self._settings: Settings = shared.settings
        counters = shared.board.counters(slot)
        self._recent = Recent()
        access_log = AccessLog(shared.logs.access, format_of(self._settings), counters.log_lost, self._recent)
        self._logs = WorkerLogs(shared.logs, self.seat.channel, access_log, self.log)
        self._context = ExchangeContext(
            hub=Hub(),
            deadlines=Deadlines(),
            pipes=Pipes(),
            buffer=memoryview(bytearray(BUFFER_SIZE)),
            counters=counters,
            access_log=access_log,
            request_ids=RequestIds(),
            tunnels={},
            retry_waiting=Waiting(),
            limits=shared.limits.worker(slot),
            logs_states=self._settings.log_level == "debug",
        )
        self._spans = Spans(counters, shared.version)
        self._send_spans()
        room.share(counters.spooled, shared.board.spooled, counters.spool_refused)
        room.most = self._settings.spool_total

    def _build_routes(self) -> None:
        """Routes and their peers, as settings and runtime overrides have them."""
        self._drain = Drain(self._context, self.shared.board)
        self._upstreams = Upstreams(self._context, self.log, self.shared.board)
        overrides = self.shared.overrides.get()
        self._context.limits.share(self._settings, self._context.counters)
        self._tables = build_tables(self._settings, self._upstreams, overrides, self._drain.is_active)
        self._commit_upstreams()
        self._context.counters.gauge(Gauge.OVERRIDES, overrides.version)

    def _commit_upstreams(self) -> None:
        self._upstreams.commit(self._tables)
        if self.seat.slot <= min(self.shared.board.alive(), default=0):
            self._upstreams.look()

    def _build_frontends(self) -> None:
        """Certificates, the admin address, and the listeners."""
        shared, context = self.shared, self._context
        ignore_unreadable_names()
        self._certificates = CertificateRefresh(
            shared.certificates, context.counters, context.limits, shared.version, self.log
        )
        self._certificates.install()
        self._certificates.renew(with_domains(self._settings, shared.overrides.get().services))
        self._places = shared.listeners.places()
        self._admin = Admin(
            shared.board,
            shared.reports,
            shared.overrides,
            shared.version,
            lambda: self._settings,
            lambda: self._certificates.faults,
            shared.admin_token,
            probe=self._probe,
            purge=self._upstreams.stores.purge,
            listening=self._listening,
        )
        self._frontends = Frontends(
            shared, context, self.sockets, self._tables, self._admin_tables, self._certificates.on_demand, self.log
        )
        self._sampling = Sampling(
            self.seat.slot, context, self._frontends, self._upstreams, self._recent, shared.reports, shared.board,
            self._certificates.on_demand,
        )  # fmt: skip

    def _listening(self) -> list[dict[str, str]]:
        return [{"role": role.value, "address": url(role, place, self._settings)} for role, place in self._places]

    def _probe(self, route: RouteSettings, address: Address, trial: Trial) -> str:
        return self._upstreams.probe_once(route, address, trial, secure=self._settings.secure)

    def _admin_tables(self, listener: Any, tables: Tables) -> Tables:
        """The route of a listener for the admin address or commands."""
        proven = self.shared.listeners.is_private(listener, self._settings)
        return admin_tables(tables, self._admin, self._context.counters.route(ADMIN), proven=proven)

    def _tick(self) -> None:
        """Once a second."""
        self.notify()
        if self.ppid != os.getppid():
            self.log.info("the master has ended; draining")
            self._begin_drain()
        self._certificates.install()
        self._context.deadlines.sweep()
        self._frontends.trim()
        self._sampling.sample(self._tables)

    # Reload and end.

    def _reload(self) -> None:
        """Swap to the settings that the master checked, and the runtime overrides in force.

        Exchanges and tunnels in flight keep what they started with.
        """
        overrides = self.shared.overrides.get()
        self._settings = settings = self.shared.config.get() or self._settings
        self.cfg.set("loglevel", settings.log_level)
        self.log.setup(self.cfg)
        self._context.logs_states = settings.log_level == "debug"
        self._take_logs()
        self._send_spans()
        room.most = settings.spool_total
        old = self._tables
        self._context.limits.share(settings, self._context.counters)
        self._tables = build_tables(settings, self._upstreams, overrides, self._drain.is_active)
        link_successor(old, self._tables)
        self._certificates.install()
        self._certificates.renew(with_domains(settings, overrides.services))
        self._frontends.serve(self._tables)
        self._commit_upstreams()
        counters = self._context.counters
        routes = {route.name for tables in (old, self._tables) for route in tables.routes}
        counters.keep({*routes, ADMIN, UNROUTED}, self._upstreams.names)
        counters.see_peers(self._upstreams.snapshots(self._tables))  # before the version, which commands wait for
        counters.gauge(Gauge.OVERRIDES, overrides.version)
        counters.reloaded()

    def _send_spans(self) -> None:
        settings = self._settings
        self._spans.change(settings.trace_collector, masks=settings.log_clients == "masked")
        self._context.spans = self._spans if settings.trace_collector else None

    def _take_logs(self) -> None:
        self._logs.take(self._settings)

    def _begin_drain(self) -> None:
        self.alive = False
        self._certificates.stop()
        self._drain.begin(self._frontends, self._settings)

    def _stop_now(self) -> None:
        """End with what is in flight unfinished; the log is still written."""
        self.alive = False
        self._drain.finished.set()
