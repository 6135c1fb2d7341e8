"""What one worker shows of itself once a second: gauges, its peers, and reports while they are being read."""

from time import time

from proxy.acme.on_demand import OnDemand
from proxy.admin.report import report
from proxy.exchange.context import ExchangeContext
from proxy.exchange.route import Tables
from proxy.observe.log_formats import ADMIN
from proxy.observe.metrics import Board
from proxy.observe.numbers import Gauge
from proxy.observe.recent import Recent
from proxy.observe.reports import Reports
from proxy.process.frontends import Frontends
from proxy.process.upstreams import Upstreams

_LONGEST = 200  # characters of a peer's fault


class Sampling:
    """The parts that are looked at."""

    def __init__(
        self,
        slot: int,
        context: ExchangeContext,
        frontends: Frontends,
        upstreams: Upstreams,
        recent: Recent,
        reports: Reports,
        board: Board,
        on_demand: OnDemand | None,
    ) -> None:
        self._slot = slot
        self._context = context
        self._frontends = frontends
        self._upstreams = upstreams
        self._recent = recent
        self._reports = reports
        self._board = board
        self._on_demand = on_demand

    def sample(self, tables: Tables) -> None:
        """Set the gauges, for the routes of `tables`."""
        context, upstreams = self._context, self._upstreams
        counters = context.counters
        counters.sample()
        connections, serving = self._frontends.connections, self._frontends.serving
        counters.gauge(Gauge.TUNNELS, len(context.tunnels))
        counters.gauge(Gauge.ACTIVE, serving)
        counters.gauge(Gauge.PARKED, max(0, connections - serving - len(context.tunnels)))
        counters.gauge(Gauge.RETRY_WAITING, context.retry_waiting.count)
        counters.gauge(Gauge.UPSTREAM_IDLE, sum(pool.idle_count for pool in upstreams.pools))
        counters.gauge(Gauge.UPSTREAM_BUSY, sum(pool.busy for pool in upstreams.pools))
        counters.gauge(Gauge.QUEUED, upstreams.queued(tables))
        stored = upstreams.stores.totals()
        counters.gauge(Gauge.CACHE_BYTES, stored.bytes)
        counters.gauge(Gauge.CACHE_ENTRIES, stored.entries)
        counters.see_peers(upstreams.snapshots(tables))
        now = time()
        self._recent.forget(now)
        self._write_history(now)
        if self._reports.wanted:
            faults = {pool.name: pool.health.fault[:_LONGEST] for pool in upstreams.pools if pool.health.fault}
            link = context.limits.link
            store_fault = link.fault if link is not None else ""
            found = report(context.tunnels, self._frontends.exchanges(), self._recent, store_fault)
            names = self._on_demand.report() if self._on_demand is not None else {}
            self._reports.publish(self._slot, {**found, **names, "faults": faults, "queued": _queued(tables)})

    def _write_history(self, now: float) -> None:
        """The first worker alive writes for all."""
        board = self._board
        if not board.history.is_due(now) or self._slot > min(board.alive(), default=self._slot):
            return
        pairs = board.traffic()
        board.history.write({pair: traffic for pair, traffic in pairs.items() if pair[0] != ADMIN}, now)


def _queued(tables: Tables) -> dict[str, int]:
    """Requests of each route that wait for a peer's connection, or for the end of a pause."""
    return {route.name: len(route.cluster.queue) for route in tables.routes if route.cluster.queue}
