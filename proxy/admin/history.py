"""/history.json: the last hour in rows of five seconds, and what was done in it."""

import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from proxy.admin.overrides import Overrides
from proxy.admin.routes import routes
from proxy.cache.stored_response import PEER
from proxy.observe.history import PERIOD, WHOLE, Figures, series_name
from proxy.observe.metrics import Board
from proxy.settings import Settings

_OF_ONE = ("good", "refused", "failed", "p95")
"""What a route or a peer has; the whole has all figures."""


def history(board: Board, settings: Settings, overrides: Overrides, since: float) -> dict[str, Any]:
    """The document: the rows that ended after `since` (unix seconds), for the routes and peers that there are now.

    What was stored is a route's peer as well, as in the log.
    """
    now = time.time()
    span = board.history.read(since, now)
    views = routes(settings, overrides, {})
    names = [(view.name, "") for view in views]
    names += [(view.name, peer.address) for view in views for peer in (*view.peers, *view.rollout)]
    names += [(view.name, PEER) for view in views if view.route.settings.stores]
    return {
        "now": round(now, 3),
        "period": PERIOD,
        "ends": span.ends,
        "lengths": span.lengths,
        "whole": _columns(span.series.get(WHOLE, ()), Figures._fields),
        "series": [
            {"route": route, "peer": peer, **_columns(rows, _OF_ONE)}
            for route, peer in dict.fromkeys(names)
            if (rows := span.series.get(series_name(route, peer)))
        ],
        "marks": [mark.document() for mark in board.marks_since(0.0)],
    }


def since_of(query: bytes) -> float:
    """The moment that a query asks for, `since=SECONDS`; 0 without one."""
    given = parse_qs(query.decode("latin-1")).get("since", ["0"])
    try:
        return float(given[0])
    except ValueError:
        return 0.0


def _columns(rows: Iterable[Figures], names: Iterable[str]) -> dict[str, list[int]]:
    kept = list(rows)
    return {name: [getattr(row, name) for row in kept] for name in names}
