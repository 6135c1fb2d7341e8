"""Move routes to a new instance of their application without losing a request; nothing changes unless it is ready.

probe the new one ──ready──► switch ──applied by all workers──► wait for the old one's connections to end
      └──deadline──► nothing changed
"""

import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from proxy.commands.client import PARTLY, SUCCESS, USAGE, Admin, CommandError
from proxy.commands.readiness import PAUSE, Readiness
from proxy.settings.values import Peer

Report = Callable[[str], None]


def switch(
    admin: Admin,
    what: str,
    upstreams: Sequence[str],
    ready: str | None,
    timeout: float,
    drain_timeout: float,
    say: Report,
) -> tuple[int, dict[str, Any]]:
    """Switch. Returns the exit code and the gateway's response. Raises CommandError when nothing changed.

    `what`: a route's name, or the address of a peer to be replaced on all routes that have it.
    """
    try:
        peers = [Peer.parse(upstream) for upstream in upstreams]
    except ValueError as problem:
        raise CommandError(f"{' '.join(upstreams)}: {problem}", USAGE) from None
    routes = [route for route in admin.status()["routes"] if not route["answer"]]
    names = [route["name"] for route in routes]
    addresses = sorted({peer["peer"] for route in routes for peer in route["peers"]})
    if what not in names and what not in addresses:
        raise CommandError(
            f"no route {what!r} with an upstream and no such peer; routes are "
            f"{', '.join(names) or 'none'}; peers are {', '.join(addresses) or 'none'}"
        )
    target = {"route": what} if what in names else {"peer": what}
    readiness = Readiness(admin, ready, range(200, 300), target)
    deadline = monotonic() + timeout
    for peer in peers:
        readiness.wait(peer, deadline, timeout)
        say(f"{peer.address} is ready")
    done = admin.command("switch", **target, upstream=list(map(str, peers)))
    say(done["done"])
    if done["behind"]:
        say(f"workers {', '.join(map(str, done['behind']))} have not applied it yet")
        return PARTLY, done
    left = await_drained(admin, done["left"], drain_timeout)
    for peer_name, busy in left.items():
        say(f"{peer_name} still has {busy} connections after {drain_timeout:g} s: WebSockets or long requests")
    if done["left"] and not left:
        say(f"{', '.join(done['left'])} can be stopped: no connections left")
    return PARTLY if left else SUCCESS, {**done, "busy": left}


def await_drained(admin: Admin, peers: Sequence[str], seconds: float) -> dict[str, int]:
    """Wait until no connection to these peers is busy. Returns those still busy when the time is over."""
    deadline = monotonic() + seconds
    while True:
        busy = busy_connections(admin.status(), peers)
        if not busy or monotonic() + PAUSE > deadline:
            return busy
        time.sleep(PAUSE)


def busy_connections(status: dict[str, Any], peers: Sequence[str]) -> dict[str, int]:
    """The number of busy connections of those peers that have any, whether or not a route still has them."""
    rows = [*status["leaving"], *(peer for route in status["routes"] for peer in route["peers"])]
    return {row["peer"]: row["busy"] for row in rows if row["peer"] in peers and row["busy"]}
