"""Metrics of all workers in the Prometheus text format."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.form import form
from proxy.net.certificate_set import Lifetime
from proxy.observe.exchange_counters import BUCKETS, Sum, Traffic
from proxy.observe.metrics import GONE, Board, Slot
from proxy.observe.numbers import ON_DEMAND, Gauge, PeerSnapshot, PeerState, PeerView, StoreState, Total

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "aragora_proxy_"
RATE_LIMITED = "rate"  # reason of the refusals of a rate limit
_MICRO = 1e6

_TOTALS = (
    (Total.ACCEPTED, "connections_accepted", "Client connections accepted"),
    (Total.FIELDS_DROPPED, "request_fields_dropped", "Request fields dropped because of their names"),
    (Total.RETRY_WAITS, "retry_waits", "Requests that waited for an upstream that refused connections"),
    (Total.RETRY_WAITS, "holds", "Former name of aragora_proxy_retry_waits_total"),
    (Total.TUNNELS, "tunnels_opened", "Successful upgrades"),
    (Total.TUNNEL_RECEIVED, "tunnel_received_bytes", "Bytes received from clients through tunnels"),
    (Total.TUNNEL_SENT, "tunnel_sent_bytes", "Bytes sent to clients through tunnels"),
    (Total.HANDSHAKES, "tls_handshakes", "TLS handshakes completed"),
    (Total.RESUMED, "tls_resumptions", "TLS handshakes resumed with a session ticket"),
    (Total.SPOOLS_REFUSED, "spools_refused", "Request or response bodies that found no room on disk"),
    (Total.CACHE_HITS, "cache_hits", "Requests answered with a fresh stored response"),
    (
        Total.CACHE_STALE,
        "cache_stale",
        "Requests answered with a stale one while a newer one was fetched, or for an error",
    ),
    (Total.CACHE_VALIDATED, "cache_validated", "Requests answered with one that the upstream said is still good"),
    (Total.CACHE_MISSES, "cache_misses", "Requests that the cache sent to the upstream"),
    (Total.STARTS, "worker_starts", "Worker processes started, including replacements"),
    (
        Total.LIMITED_ALONE,
        "limited_alone",
        "Requests, connections and WebSockets whose shared limits were checked without the shared store",
    ),
    (Total.LOG_LOST, "access_log_lost_lines", "Access log lines that could not be written"),
    (Total.SPANS_SENT, "spans_sent", "Spans that the collector of traces has taken"),
    (Total.SPANS_LOST, "spans_lost", "Spans that found no room, or that the collector did not take"),
)

_SUMMED = (
    (Sum.RECEIVED, "received_bytes", "Bytes received from clients with requests"),
    (Sum.SENT, "sent_bytes", "Bytes sent to clients with responses"),
    (Sum.RETRIES, "retries", "Requests retried on a new upstream connection"),
)

_GAUGES = (
    (
        "connections",
        "Client connections",
        "state",
        ((Gauge.PARKED, "idle"), (Gauge.ACTIVE, "active"), (Gauge.TUNNELS, "tunnel")),
    ),
    (
        "upstream_connections",
        "Connections to upstream peers",
        "state",
        ((Gauge.UPSTREAM_IDLE, "idle"), (Gauge.UPSTREAM_BUSY, "busy")),
    ),
)

_SUMS = (
    (Gauge.RETRY_WAITING, "retry_waiting", "Requests waiting for an upstream that refuses connections"),
    (Gauge.RETRY_WAITING, "requests_held", "Former name of aragora_proxy_retry_waiting"),
    (Gauge.QUEUED, "queue_waiting", "Requests queued for a peer that is at its connection limit"),
    (Gauge.SPOOLED, "spooled_bytes", "Bytes of request and response bodies on disk"),
    (Gauge.COLLECTOR_FAULTS, "trace_collector_faults", "Workers whose spans the collector does not take"),
)

_SHARED = (
    (
        Gauge.CERTIFICATE_FAULTS,
        "certificate_faults",
        "Certificate files that cannot be used; the gateway keeps serving the previous ones",
    ),
    (Gauge.ON_DEMAND_NAMES, "on_demand_names", "Names whose certificates were obtained on demand"),
    (Gauge.CACHE_BYTES, "cache_bytes", "Bytes of all stored responses"),
    (Gauge.CACHE_ENTRIES, "cache_entries", "Stored responses"),
)
"""What every worker sees for itself."""


def render(board: Board, version: str, containers: dict[str, Any] | None = None) -> bytes:
    """The body of a scrape. `containers`: what the process that follows them has told (`Reports.containers`)."""
    registry = CollectorRegistry()
    registry.register(_BoardCollector(board, version, containers))
    return generate_latest(registry)


class _BoardCollector(Collector):
    def __init__(self, board: Board, version: str, containers: dict[str, Any] | None) -> None:
        self._board = board
        self._version = version
        self._containers = containers

    def collect(self) -> Iterator[Metric]:
        slots = self._board.slots()
        alive = [slot for slot in slots if slot.gauge(Gauge.PID)]
        yield from _exchanges(self._board.traffic())
        for total, name, doc in _TOTALS:
            yield CounterMetricFamily(_PREFIX + name, doc, sum(slot.total(total) for slot in slots))
        yield from _peers(slots, alive)
        yield from _failures(slots)
        yield _dropped(slots)
        for name, doc, label, members in _GAUGES:
            family = GaugeMetricFamily(_PREFIX + name, doc, labels=[label])
            for which, state in members:
                family.add_metric([state], sum(slot.gauge(which) for slot in alive))
            yield family
        for which, name, doc in _SUMS:
            yield GaugeMetricFamily(_PREFIX + name, doc, sum(slot.gauge(which) for slot in alive))
        for which, name, doc in _SHARED:
            yield GaugeMetricFamily(_PREFIX + name, doc, max((slot.gauge(which) for slot in alive), default=0))
        yield from _certificates(alive)
        yield from _on_demand(slots)
        yield from _store(alive)
        yield from _workers(slots, alive)
        yield from _found(self._containers)
        yield GaugeMetricFamily(
            _PREFIX + "start_time_seconds", "Unix time at which the master started", self._board.started
        )
        build = GaugeMetricFamily(
            _PREFIX + "build_info", "Always 1; the labels are the running version and form", labels=["version", "form"]
        )
        build.add_metric([self._version, form()], 1)
        yield build


def _found(containers: dict[str, Any] | None) -> Iterator[Metric]:
    """What is known of containers, once something follows them."""
    if containers is None:
        return
    connected = containers["state"] == "connected"
    yield GaugeMetricFamily(
        _PREFIX + "container_daemon_connected", "1 while the daemon of containers is followed, 0 without it", connected
    )
    yield GaugeMetricFamily(_PREFIX + "containers", "Running containers with labels", containers.get("containers", 0))
    yield GaugeMetricFamily(
        _PREFIX + "container_faults",
        "Containers that serve nothing; /status.json has the reasons",
        len(containers.get("faults", ())),
    )


def _exchanges(pairs: dict[tuple[str, str], Traffic]) -> Iterator[Metric]:
    whole = Traffic(traffic.numbers for traffic in pairs.values())
    requests = CounterMetricFamily(
        _PREFIX + "requests", "Finished exchanges; code 0xx: no response was sent", labels=["method", "code"]
    )
    for method, status_class, count in whole.by_method():
        if count:
            requests.add_metric([method, f"{status_class}xx"], count)
    yield requests
    duration = HistogramMetricFamily(
        _PREFIX + "request_duration_seconds",
        "Seconds from the first byte of a request to the last byte of its response",
    )
    _add_durations(duration, [], whole)
    yield duration
    for which, name, doc in _SUMMED:
        yield CounterMetricFamily(_PREFIX + name, doc, whole.of(which))
    yield from _by_route({pair: traffic for pair, traffic in pairs.items() if pair != GONE})


def _by_route(pairs: dict[tuple[str, str], Traffic]) -> Iterator[Metric]:
    """By route and peer; the peer is empty where the gateway itself responded."""
    requests = CounterMetricFamily(
        _PREFIX + "route_requests",
        "Finished exchanges of a route with a peer; no peer: the gateway itself responded",
        labels=["route", "peer", "code"],
    )
    labels = ["route", "peer"]
    duration = HistogramMetricFamily(
        _PREFIX + "route_request_duration_seconds", "request_duration_seconds of a route with a peer", labels=labels
    )
    for pair, traffic in pairs.items():
        for status_class, count in enumerate(traffic.classes):
            if count:
                requests.add_metric([*pair, f"{status_class}xx"], count)
        _add_durations(duration, list(pair), traffic)
    yield requests
    yield duration
    for which, name, doc in _SUMMED:
        family = CounterMetricFamily(f"{_PREFIX}route_{name}", f"{doc}, of a route with a peer", labels=labels)
        for pair, traffic in pairs.items():
            family.add_metric(list(pair), traffic.of(which))
        yield family


def _add_durations(family: HistogramMetricFamily, labels: list[str], traffic: Traffic) -> None:
    cumulative: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), traffic.durations, strict=True):
        seen += count
        cumulative.append((bound, seen))
    family.add_metric(labels, cumulative, traffic.of(Sum.DURATION) / _MICRO)


def peer_views(slots: list[Slot]) -> dict[str, PeerView]:
    """All peers: counters and connections summed over the slots, and the worst state that any worker sees."""
    known: dict[str, PeerView] = {}
    for slot in slots:
        for name, view in slot.peers():
            known[name] = _joined(known[name], view) if name in known else view
    return known


def _joined(one: PeerView, other: PeerView) -> PeerView:
    mine, its = one.snapshot, other.snapshot
    return PeerView(
        one.connects + other.connects,
        one.reuses + other.reuses,
        one.failures + other.failures,
        PeerSnapshot(
            max(mine.state, its.state),
            mine.idle + its.idle,
            mine.busy + its.busy,
            max(mine.weight, its.weight),
            max(mine.probed, its.probed),
            min(mine.since, its.since) or max(mine.since, its.since),
            max(mine.outages, its.outages),
            max(mine.downtime, its.downtime),
        ),
    )


def _peers(slots: list[Slot], alive: list[Slot]) -> Iterator[Metric]:
    views = peer_views(slots)
    for field, metric, doc in (
        ("connects", "upstream_connects", "Connections opened to a peer"),
        ("reuses", "upstream_reuses", "Requests sent on an open connection"),
        ("failures", "upstream_failures", "Failed connects and exchanges of a peer"),
    ):
        family = CounterMetricFamily(_PREFIX + metric, doc, labels=["peer"])
        for peer, view in views.items():
            family.add_metric([peer], getattr(view, field))
        yield family
    up = GaugeMetricFamily(
        _PREFIX + "peer_up", "1 if all workers send requests to a peer, 0 if any does not", labels=["peer"]
    )
    for peer, view in peer_views(alive).items():
        if view.snapshot.state is not PeerState.UNKNOWN:
            up.add_metric([peer], view.snapshot.state is PeerState.UP)
    yield up


def failure_counts(slots: list[Slot]) -> dict[str, tuple[int, int]]:
    """By reason: refused heads, and exchanges that failed later."""
    counts: dict[str, tuple[int, int]] = {}
    for slot in slots:
        for reason, refused, failed in slot.reasons():
            before = counts.get(reason, (0, 0))
            counts[reason] = before[0] + refused, before[1] + failed
    return counts


def _failures(slots: list[Slot]) -> Iterator[Metric]:
    counts = failure_counts(slots)
    refusals = CounterMetricFamily(
        _PREFIX + "requests_rejected", "Requests refused before they reached an upstream", labels=["reason"]
    )
    failures = CounterMetricFamily(_PREFIX + "failures", "Requests refused or failed, by reason", labels=["reason"])
    for reason, (refused, failed) in counts.items():
        if refused:
            refusals.add_metric([reason], refused)
        failures.add_metric([reason], refused + failed)
    yield refusals
    yield failures
    yield CounterMetricFamily(
        _PREFIX + "rate_limited",
        "Requests refused by a rate limit",
        sum(counts.get(RATE_LIMITED, (0, 0))),
    )


def dropped_fields(slots: list[Slot]) -> Counter[tuple[str, str]]:
    """How many fields were dropped, by the message that had them ("request" or "response") and their name."""
    counts: Counter[tuple[str, str]] = Counter()
    for slot in slots:
        for name, of_requests, of_responses in slot.dropped_fields():
            counts["request", name] += of_requests
            counts["response", name] += of_responses
    return +counts


def _dropped(slots: list[Slot]) -> Metric:
    family = CounterMetricFamily(
        _PREFIX + "fields_dropped", "Fields dropped because of their names", labels=["message", "field"]
    )
    for labels, count in dropped_fields(slots).items():
        family.add_metric(labels, count)
    return family


def certificate_lifetimes(alive: list[Slot]) -> dict[str, Lifetime]:
    """Of each served certificate; of two views that which expires first."""
    known: dict[str, Lifetime] = {}
    for slot in alive:
        for name, lifetime in slot.certificates():
            known[name] = min(known.get(name, lifetime), lifetime)
    return known


def _certificates(alive: list[Slot]) -> Iterator[Metric]:
    expiry = GaugeMetricFamily(
        _PREFIX + "certificate_expiry_seconds", "Unix time at which a certificate expires", labels=["name"]
    )
    begin = GaugeMetricFamily(
        _PREFIX + "certificate_begin_seconds", "Unix time from which a certificate is valid", labels=["name"]
    )
    for name, lifetime in certificate_lifetimes(alive).items():
        expiry.add_metric([name], lifetime.expires)
        begin.add_metric([name], lifetime.begins)
    yield from (expiry, begin)


def _on_demand(slots: list[Slot]) -> Iterator[Metric]:
    orders = CounterMetricFamily(
        _PREFIX + "on_demand_orders",
        "Certificates ordered on demand, and whether they were obtained",
        labels=["result"],
    )
    for result, which in (("obtained", Total.ON_DEMAND_ORDERED), ("failed", Total.ON_DEMAND_NOT_ORDERED)):
        orders.add_metric([result], sum(slot.total(which) for slot in slots))
    yield orders
    handshakes = CounterMetricFamily(
        _PREFIX + "on_demand_handshakes", "TLS handshakes for names without a certificate", labels=["outcome"]
    )
    for outcome, which in ON_DEMAND.items():
        handshakes.add_metric([outcome], sum(slot.total(which) for slot in slots))
    yield handshakes


def _store(alive: list[Slot]) -> Iterator[Metric]:
    states = [slot.gauge(Gauge.SHARED_LIMITS) for slot in alive]
    if any(states):
        up = StoreState.LOST not in states
        yield GaugeMetricFamily(
            _PREFIX + "shared_limits_up", "1 if all workers reach the store of shared limits, 0 if any does not", up
        )
        yield GaugeMetricFamily(
            _PREFIX + "shared_limits_leased",
            "Shares of clients' connections and WebSockets that this gateway has leased",
            sum(slot.gauge(Gauge.LEASED) for slot in alive),
        )


def _workers(slots: list[Slot], alive: list[Slot]) -> Iterator[Metric]:
    yield GaugeMetricFamily(_PREFIX + "workers", "Worker processes alive", len(alive))
    cpu = CounterMetricFamily(
        _PREFIX + "worker_cpu_seconds", "Processor time by worker slot, in seconds", labels=["worker"]
    )
    for slot in slots:
        cpu.add_metric([str(slot.index)], slot.total(Total.CPU) / _MICRO)
    yield cpu
    for which, name, doc, scale in (
        (Gauge.UTILISATION, "worker_utilisation_ratio", "Fraction of a core used over the last second", _MICRO),
        (Gauge.DRAINING, "worker_draining", "1 while a worker drains", 1.0),
    ):
        family = GaugeMetricFamily(_PREFIX + name, doc, labels=["worker"])
        for slot in alive:
            family.add_metric([str(slot.index)], slot.gauge(which) / scale)
        yield family
