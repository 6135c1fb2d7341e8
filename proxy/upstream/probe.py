"""Active health checks: asking a peer for a path, again and again."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time

import gevent

from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.upstream.pool import ConnectRefused, Pool
from proxy.upstream.upload import Stale
from proxy.wire.request import RequestFields

_MOST_HEAD = 16 << 10
_SPREAD = 0.1
"""Part of the interval by which rounds differ, so that the workers' probes do not come together."""


_GOOD = (range(200, 400),)
_NOT_KNOWN = (range(400, 401), range(421, 422))
"""How applications refuse a Host that is not theirs."""


@dataclass(frozen=True, slots=True)
class Probing:
    """What to ask for and how often. `interval` and `timeout` are seconds.

    `host` empty: nobody has said under which name the application is served, so the peer's address stands in the Host
    field, and an application that does not know that name lives all the same. `statuses` empty: the usual ones.
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
            fault = ask(self.pool, self.probing)
            health = self.pool.health
            health.last_probe = int(time())
            if health.probed(monotonic(), good=not fault):
                self._changed(self.pool, fault)
            gevent.sleep(self.probing.interval * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311 - no secret


def ask(pool: Pool, probing: Probing) -> str:
    """Ask once, on a connection of its own; what is wrong with the answer, or nothing. Raises nothing."""
    host = probing.host or ("localhost" if pool.address.path else pool.name)
    lines = f"Host: {host}\r\nX-Forwarded-Proto: {probing.scheme}\r\nUser-Agent: aragora-proxy\r\nConnection: close\r\n"
    request = Request(b"GET", probing.path.encode(), 1, RequestFields(), lines.encode(), monotonic())
    request.id = b"probe"
    connection = None
    try:
        connection = pool.connect(probing.timeout)
        connection.send_request(request, probing.timeout)
        deadline = monotonic() + probing.timeout  # of the final answer, whatever is said before it
        response, rest = connection.first_head(deadline, _MOST_HEAD)
        while response.status < 200:
            response, rest = connection.read_head(rest, deadline, _MOST_HEAD)
    except (ConnectRefused, Stale, ExchangeError) as error:
        return str(error)
    finally:
        if connection is not None:
            connection.close()
    if any(response.status in span for span in probing.good):
        return ""
    return f"{probing.path} answered {response.status} to Host {host}"
