"""What one worker reports to all others, while reports are requested."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from proxy.admin.status import MOST_TUNNELS
from proxy.exchange.downstream import OpenTunnel, TunnelOrigin
from proxy.observe.recent import Recent

_LONGEST = 200  # characters of a target


def report(tunnels: Mapping[OpenTunnel, TunnelOrigin], recent: Recent) -> dict[str, Any]:
    """A worker's open tunnels, oldest first, and its slowest and failed requests."""
    return {
        "tunnels": [_tunnel(tunnel, origin) for tunnel, origin in islice(tunnels.items(), MOST_TUNNELS)],
        "slowest": recent.slowest(),
        "failing": recent.failed(),
    }


def _tunnel(tunnel: OpenTunnel, origin: TunnelOrigin) -> dict[str, Any]:
    to_client, to_upstream = tunnel.moved
    return {
        "client": origin.client,
        "target": origin.target[:_LONGEST].decode("ascii", "backslashreplace"),
        "upstream": origin.upstream,
        "since": round(origin.since, 3),
        "to_client": to_client,
        "to_upstream": to_upstream,
    }
