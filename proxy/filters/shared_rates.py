"""Request rates that several gateways count together."""

from proxy.exchange.request import Request
from proxy.filters.rates import RateLimit
from proxy.limits.link import Link
from proxy.limits.script import TAKE


class SharedRateLimit:
    """As a route's `RateLimit`, but with buckets in Redis; those of `alone` count while it is lost or late."""

    def __init__(self, route: str, alone: RateLimit, link: Link) -> None:
        self._alone = alone
        self._keys = link.keys(f"rate {route}")
        self._link = link

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (429). Waits."""
        alone = self._alone
        key = alone.client.key(self._keys, request)
        answer = self._link.run(TAKE, b"rate:%x" % key, alone.rate, alone.burst)
        if answer is None:
            alone.check(request)
        else:
            alone.answer(request, float(answer))
