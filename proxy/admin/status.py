"""/status.json: everything the status page and the commands show, for all workers together.

Counters only; compute rates from two readings and their `now`.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from proxy import errors
from proxy.admin.names_on_demand import next_to_expire, refused
from proxy.admin.overrides import EVERY, Overrides
from proxy.admin.routes import RouteView, connections, routes, services
from proxy.cache.stored_response import PEER
from proxy.errors import Blame, Failure
from proxy.form import form
from proxy.net.certificate_set import Faults
from proxy.observe.cells import cell_name
from proxy.observe.exchange_counters import BUCKETS, Sum, Traffic
from proxy.observe.log_formats import ADMIN
from proxy.observe.metrics import Board, Slot
from proxy.observe.numbers import ON_DEMAND, Gauge, StoreState, Total
from proxy.observe.prometheus import certificate_lifetimes, dropped_fields, failure_counts, peer_views
from proxy.observe.recent import SLOWEST, newest
from proxy.observe.reports import Reports
from proxy.settings import Settings
from proxy.settings.differences import differences

MOST_TUNNELS = 200
_MICRO = 1e6
_DAY = 86400
_FAILURES = {failure.reason: failure for failure in vars(errors).values() if isinstance(failure, Failure)}
_TOO_MUCH = frozenset({413, 414, 429, 431})  # statuses for exceeded bounds
_LIMITS = frozenset({"queue_full", "queue_timeout", "spool", "overloaded"})  # reasons of a 503 for an exceeded bound
_SIDES = {
    Blame.CLIENT: "client",
    Blame.CLIENT_SLOW: "client",
    Blame.UPSTREAM: "upstream",
    Blame.UPSTREAM_SLOW: "upstream",
}


def status(
    board: Board, reports: Reports, overrides: Overrides, settings: Settings, version: str, faults: Faults
) -> dict[str, Any]:
    """The document."""
    slots = board.slots()
    alive = [slot for slot in slots if slot.gauge(Gauge.PID)]
    views = peer_views(slots)
    seen = peer_views(alive)
    views = {name: view._replace(snapshot=seen[name].snapshot) for name, view in views.items() if name in seen}
    pairs = {pair: traffic for pair, traffic in board.traffic().items() if pair[0] != ADMIN}
    whole = Traffic(traffic.numbers for traffic in pairs.values())
    reported = _reported(alive, reports)
    peer_faults, queued, names = reported.pop("faults"), reported.pop("queued"), reported.pop("on_demand")
    rendered = [
        {
            **_with_traffic(view.document(), pairs, peer_faults),
            "cached": _cached(view, pairs),
            "queued": queued[view.name],
        }
        for view in routes(settings, overrides, views)
    ]
    in_use = {peer["peer"] for route in rendered for peer in route["peers"]}
    return {
        "version": version,
        "form": form(),
        "now": round(time.time(), 3),
        "uptime_seconds": round(time.time() - board.started, 1),
        "master": _master(),
        "bind": [str(address) for address in settings.bind],
        "upstream": [str(address) for address in settings.upstream],
        **_counted(slots, whole),
        **_open(alive),
        "failures": _failures(slots, whole),
        "dropped_fields": [
            {"message": message, "field": name, "count": count}
            for (message, name), count in dropped_fields(slots).most_common()
        ],
        "routes": rendered,
        "services": services(settings, overrides),
        "leaving": [
            {"peer": name, **connections(view)}
            for name, view in views.items()
            if name not in in_use and view.snapshot.busy
        ],
        "containers": reports.containers(),
        "maintenance": {"all": EVERY in overrides.maintained, "routes": sorted(overrides.maintained - {EVERY})},
        "overrides": overrides.version,
        "orders": overrides.version,  # former name
        "cache": _cache(slots, alive, settings),
        "certificates": _certificates(alive),
        "certificate_faults": [{"name": name, "fault": fault} for name, fault in faults],
        "on_demand": {**_on_demand(slots, alive, settings), **names},
        "shared_limits": _shared_limits(alive, settings, reports),
        "access_log": settings.access_log != "off",
        "private": True,
        **reported,
        "settings": [difference._asdict() for difference in differences(settings)],
        "workers": [_worker(slot, overrides) for slot in alive],
    }


def public(page: dict[str, Any]) -> dict[str, Any]:
    """The document without private details: clients' addresses, query strings and settings."""
    return {
        **page,
        "private": False,
        "settings": None,
        **{
            kind: [{**row, "client": None, "target": str(row["target"]).partition("?")[0]} for row in page[kind]]
            for kind in ("tunnels", "slowest", "failing")
        },
    }


def _master() -> dict[str, Any]:
    """The master's process, and during a binary upgrade the one it takes over from."""
    master = os.getppid()
    old = os.environ.get("GUNICORN_PID", "")
    if old:
        try:
            parent = Path(f"/proc/{master}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1]
        except OSError:
            parent = ""
        old = old if parent == old else ""
    return {"pid": master, "replaces": int(old) if old else None}


def _with_traffic(
    route: dict[str, Any], pairs: Mapping[tuple[str, str], Traffic], faults: Mapping[str, str]
) -> dict[str, Any]:
    """A route with what its requests came to, as a whole and by peer, and what is wrong with each peer."""
    name = cell_name(route["name"])
    own = [traffic.numbers for (of, _), traffic in pairs.items() if of == name]
    return {
        **route,
        "traffic": _document(Traffic(own)),
        "peers": [
            {
                **peer,
                "fault": faults.get(peer["peer"], ""),
                "traffic": _document(pairs.get((name, cell_name(peer["peer"])), Traffic())),
            }
            for peer in route["peers"]
        ],
    }


def _cached(view: RouteView, pairs: Mapping[tuple[str, str], Traffic]) -> dict[str, Any] | None:
    """What the requests came to that were answered with something stored; None for a route that stores nothing."""
    if not view.route.settings.stores:
        return None
    return _document(pairs.get((cell_name(view.name), PEER), Traffic()))


def _document(traffic: Traffic) -> dict[str, Any]:
    return {
        "requests": traffic.requests,
        "statuses": _statuses(traffic),
        "durations": traffic.durations,
        "seconds": round(traffic.of(Sum.DURATION) / _MICRO, 6),
        **{which.name.lower(): traffic.of(which) for which in (Sum.RECEIVED, Sum.SENT, Sum.RETRIES)},
    }


def _statuses(traffic: Traffic) -> dict[str, int]:
    return {f"{status_class}xx": count for status_class, count in enumerate(traffic.classes) if count}


def _counted(slots: list[Slot], whole: Traffic) -> dict[str, Any]:
    totals = {which.name.lower(): sum(slot.total(which) for slot in slots) for which in Total if which != Total.CPU}
    summed = {which.name.lower(): whole.of(which) for which in (Sum.RECEIVED, Sum.SENT, Sum.RETRIES)}
    return {
        "requests": whole.requests,
        "statuses": _statuses(whole),
        "durations": {
            "bounds": BUCKETS,
            "counts": whole.durations,
            "sum": round(whole.of(Sum.DURATION) / _MICRO, 6),
        },
        "totals": {**summed, **totals, "holds": totals["retry_waits"]},  # and its former name
    }


def _open(alive: list[Slot]) -> dict[str, Any]:
    def total(which: Gauge) -> int:
        return sum(slot.gauge(which) for slot in alive)

    return {
        "connections": {"idle": total(Gauge.PARKED), "active": total(Gauge.ACTIVE), "tunnel": total(Gauge.TUNNELS)},
        "requests_retry_waiting": total(Gauge.RETRY_WAITING),
        "requests_held": total(Gauge.RETRY_WAITING),  # former name
        "requests_queued": total(Gauge.QUEUED),
        "spooled_bytes": total(Gauge.SPOOLED),
    }


def _cache(slots: list[Slot], alive: list[Slot], settings: Settings) -> dict[str, Any]:
    """What is stored and may be, and the share of requests that were answered with it; None before there were any."""
    stored = (Total.CACHE_HITS, Total.CACHE_STALE, Total.CACHE_VALIDATED)
    found = sum(slot.total(which) for slot in slots for which in stored)
    asked = found + sum(slot.total(Total.CACHE_MISSES) for slot in slots)
    return {
        "entries": max((slot.gauge(Gauge.CACHE_ENTRIES) for slot in alive), default=0),
        "bytes": max((slot.gauge(Gauge.CACHE_BYTES) for slot in alive), default=0),
        "most_entries": settings.cache_entries,
        "most_bytes": settings.cache_size,
        "hit_rate": round(found / asked, 4) if asked else None,
    }


def _failures(slots: list[Slot], whole: Traffic) -> list[dict[str, Any]]:
    """By reason, most frequent first. `limit`: a bound of the gateway was exceeded."""
    found: list[dict[str, Any]] = []
    for reason, counts in failure_counts(slots).items():
        failure = _FAILURES.get(reason)
        side = _SIDES.get(failure.blame, "gateway") if failure else "gateway"
        found.append(
            {
                "reason": reason,
                "count": sum(counts),
                "side": side,
                "status": failure.status if failure else 0,
                "message": failure.message if failure else "",
                "limit": reason in _LIMITS or (failure is not None and failure.status in _TOO_MUCH),
            }
        )
    own = whole.classes[5] - sum(row["count"] for row in found if row["status"] >= 500)
    if own > 0:
        found.append(
            {
                "reason": "application",
                "count": own,
                "side": "upstream",
                "status": 500,
                "limit": False,
                "message": "The application itself responded with 5xx",
            }
        )
    return sorted(found, key=lambda row: (-row["count"], row["reason"]))


def _certificates(alive: list[Slot]) -> list[dict[str, Any]]:
    now = time.time()
    found = sorted(certificate_lifetimes(alive).items(), key=lambda item: item[1])
    return [{"name": name, **one._asdict(), "days": int((one.expires - now) // _DAY)} for name, one in found]


def _on_demand(slots: list[Slot], alive: list[Slot], settings: Settings) -> dict[str, Any]:
    """Certificates for names that clients asked for: how many, and what became of handshakes that had to wait."""
    return {
        "enabled": bool(settings.on_demand_ask),
        "names": max((slot.gauge(Gauge.ON_DEMAND_NAMES) for slot in alive), default=0),
        "obtained": sum(slot.total(Total.ON_DEMAND_ORDERED) for slot in slots),
        "failed": sum(slot.total(Total.ON_DEMAND_NOT_ORDERED) for slot in slots),
        "handshakes": {outcome: sum(slot.total(which) for slot in slots) for outcome, which in ON_DEMAND.items()},
    }


def _shared_limits(alive: list[Slot], settings: Settings, reports: Reports) -> dict[str, Any]:
    """Whether all workers reach the store in which several gateways count together, and why not."""
    state = max((slot.gauge(Gauge.SHARED_LIMITS) for slot in alive), default=0)
    since = [lost for slot in alive if (lost := slot.gauge(Gauge.STORE_LOST))]
    return {
        "store": str(settings.shared_limits) if settings.shared_limits else "",
        "state": StoreState(state).name.lower(),
        "lost_since": min(since, default=0),
        "leased": sum(slot.gauge(Gauge.LEASED) for slot in alive),
        "fault": next((fault for one in _found(alive, reports) if (fault := one.get("store_fault"))), ""),
    }


def _found(alive: list[Slot], reports: Reports) -> list[dict[str, Any]]:
    return [report for slot in alive if (report := reports.read(slot.index))]


def _reported(alive: list[Slot], reports: Reports) -> dict[str, Any]:
    """The workers' reports merged into one list of each kind."""
    found = _found(alive, reports)

    def rows(name: str) -> Iterable[dict[str, Any]]:
        return (row for report in found for row in report.get(name, ()))

    return {
        "tunnels": sorted(rows("tunnels"), key=lambda row: row["since"])[:MOST_TUNNELS],
        "slowest": sorted(rows("slowest"), key=lambda row: -row["seconds"])[:SLOWEST],
        "failing": newest(rows("failing")),
        "queued": sum((Counter(report.get("queued", {})) for report in found), Counter()),
        "on_demand": {
            "certificates": next_to_expire(rows("on_demand_certificates")),
            "refused": refused(rows("on_demand_refused")),
        },
        "faults": {peer: fault for report in found for peer, fault in report.get("faults", {}).items()},
    }


def _worker(slot: Slot, overrides: Overrides) -> dict[str, Any]:
    return {
        "slot": slot.index,
        "pid": slot.gauge(Gauge.PID),
        "started": slot.gauge(Gauge.STARTED),
        "draining": bool(slot.gauge(Gauge.DRAINING)),
        "current": slot.gauge(Gauge.OVERRIDES) >= overrides.version,
        "utilisation": round(slot.gauge(Gauge.UTILISATION) / _MICRO, 3),
        "connections": {
            "idle": slot.gauge(Gauge.PARKED),
            "active": slot.gauge(Gauge.ACTIVE),
            "tunnel": slot.gauge(Gauge.TUNNELS),
        },
        "upstream_connections": {"idle": slot.gauge(Gauge.UPSTREAM_IDLE), "busy": slot.gauge(Gauge.UPSTREAM_BUSY)},
        "requests": slot.traffic().requests,
        "requests_retry_waiting": slot.gauge(Gauge.RETRY_WAITING),
        "spooled_bytes": slot.gauge(Gauge.SPOOLED),
    }
