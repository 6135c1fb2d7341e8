"""Active health checks: requests for one path of a peer, at intervals."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time

import gevent

from proxy.errors import ExchangeError
from proxy.upstream.diagnosis import examine, is_doubtful
from proxy.upstream.faults import Stale
from proxy.upstream.pool import ConnectRefused, Pool

_MOST_HEAD = 16 << 10
_SPREAD = 0.1
"""Part of the interval by which rounds differ, so that the workers' probes do not come together."""


_GOOD = (range(200, 400),)
_NOT_KNOWN = (range(400, 401), range(421, 422))
"""How applications refuse a Host that is not theirs."""


@dataclass(frozen=True, slots=True)
class Probing:
    """What to request and how often. `interval` and `timeout` are seconds.

    `host` empty: the name that the application is served under is not known, so the Host field has the peer's address,
    and an application that refuses that name counts as healthy all the same. `statuses` empty: the usual ones.
    """

    path: str
    host: str
    scheme: str
    statuses: tuple[range, ...]
    interval: float
    timeout: float

    @property
    def good(self) -> tuple[range, ...]:
        return self.statuses or (_GOOD if self.host else _GOOD + _NOT_KNOWN)


class Probe:
    """The checks of one peer by one worker; `changed(pool)` is called when it goes up or down."""

    def __init__(self, pool: Pool, probing: Probing, changed: Callable[[Pool, str], None]) -> None:
        self.pool = pool
        self.probing = probing
        self._changed = changed
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill(block=False)

    def _run(self) -> None:
        while True:
            fault = probe(self.pool, self.probing)
            health = self.pool.health
            health.last_probe = int(time())
            if health.probed(monotonic(), good=not fault, fault=fault):
                self._changed(self.pool, fault)
            gevent.sleep(self.probing.interval * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311 - no secret


def probe(pool: Pool, probing: Probing) -> str:
    """Send one request, on a connection of its own; what is wrong with the response, or nothing. Raises nothing."""
    host = probing.host or pool.address.authority
    head = (
        f"GET {probing.path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: {probing.scheme}\r\n"
        "User-Agent: aragora-proxy\r\nConnection: close\r\nX-Request-ID: probe\r\n"
    )
    connection = None
    try:
        connection = pool.connect(probing.timeout)
        connection.send_request(head.encode(), None, None, probing.timeout)
        response, _ = connection.final_head(monotonic() + probing.timeout, 0.0, _MOST_HEAD)
    except (ConnectRefused, Stale, ExchangeError) as error:
        if isinstance(error, Stale):
            examine(pool)
        return str(error)
    finally:
        if connection is not None:
            connection.close()
    if is_doubtful(response):
        examine(pool)
    if any(response.status in span for span in probing.good):
        return ""
    return f"{probing.path} answered {response.status} to Host {host}"


def probe_connection(pool: Pool, timeout: float) -> str:
    """Open one connection; why there is none, or nothing. Raises nothing."""
    try:
        pool.connect(timeout).close()
    except (ConnectRefused, ExchangeError) as error:
        return str(error)
    return ""
