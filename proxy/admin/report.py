"""What one worker reports to all others, while reports are requested."""

from collections.abc import Iterable, Mapping
from heapq import nsmallest
from itertools import islice
from time import monotonic, time
from typing import Any, Final

from proxy.admin.status import MOST_TUNNELS
from proxy.exchange.downstream import OpenTunnel, TunnelOrigin
from proxy.exchange.machine import Exchange
from proxy.exchange.states import DONE
from proxy.observe.log_formats import ADMIN
from proxy.observe.recent import SLOWEST, Recent

_LONGEST: Final = 200  # characters of a target
_LONG: Final = 1.0  # seconds after which a request that has not ended is among the slow ones


def report(
    tunnels: Mapping[OpenTunnel, TunnelOrigin], exchanges: Iterable[Exchange], recent: Recent, store_fault: str
) -> dict[str, Any]:
    """A worker's open tunnels, oldest first, its slowest requests, ended or not, and its failed ones; why it has lost
    the store of shared limits."""
    return {
        "tunnels": [_tunnel(tunnel, origin) for tunnel, origin in islice(tunnels.items(), MOST_TUNNELS)],
        "slowest": [*_long(exchanges), *recent.slowest()],
        "failing": recent.failed(),
        "store_fault": store_fault,
    }


def _long(exchanges: Iterable[Exchange]) -> list[dict[str, Any]]:
    """The requests that have been under way longest, but for those of the admin address."""
    now = monotonic()
    found = [
        exchange
        for exchange in exchanges
        if now - exchange.request.started >= _LONG and exchange.upstream.peer != ADMIN and exchange.state is not DONE
    ]
    return [_under_way(exchange, now) for exchange in nsmallest(SLOWEST, found, key=lambda one: one.request.started)]


def _under_way(exchange: Exchange, now: float) -> dict[str, Any]:
    """A request that has not ended, as `Recent` shows those that have."""
    request = exchange.request
    seconds = now - request.started
    return {
        "when": round(time() - seconds, 3),
        "ago": 0.0,
        "client": request.client,
        "method": request.method.decode("ascii", "backslashreplace"),
        "target": request.target[:_LONGEST].decode("ascii", "backslashreplace"),
        "status": exchange.client.status,
        "seconds": round(seconds, 4),
        "first_byte": round(exchange.upstream.first_byte, 4),
        "route": "",
        "upstream": exchange.upstream.peer,
        "termination": "",
        "reason": "",
        "request_id": request.id.decode("ascii", "backslashreplace"),
        "state": exchange.state.name.lower(),
    }


def _tunnel(tunnel: OpenTunnel, origin: TunnelOrigin) -> dict[str, Any]:
    to_client, to_upstream = tunnel.moved
    return {
        "client": origin.client,
        "target": origin.target[:_LONGEST].decode("ascii", "backslashreplace"),
        "upstream": origin.upstream,
        "since": round(origin.since, 3),
        "protocol": origin.protocol.decode("ascii"),
        "state": tunnel.state.name.lower(),
        "to_client": to_client,
        "to_upstream": to_upstream,
    }
