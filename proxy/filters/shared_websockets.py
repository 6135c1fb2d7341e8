"""Limits of WebSockets that several gateways keep together."""

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.filter_chain import WaitsForUpgrades
from proxy.exchange.request import Request
from proxy.filters.rates import WebSocketLimit
from proxy.limits.concurrency import Counted
from proxy.limits.leases import Leases


class SharedWebSocketLimit(WaitsForUpgrades):
    """As a `WebSocketLimit` of this gateway alone, which is kept as well, but with shares of all gateways' limit."""

    def __init__(self, alone: WebSocketLimit, leases: Leases) -> None:
        self._alone = alone
        self._leases = leases

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (429). Waits. What was acquired is released when the exchange ends."""
        self._alone.check(request)
        alone = request.release
        if alone is None:
            return
        leases, key = self._leases, self._leases.key(Counted.WEBSOCKETS, request.client)
        if not leases.take(key, self._alone.most):
            raise ExchangeError(errors.WEBSOCKETS)

        def release() -> None:
            alone()
            leases.give_back(key)

        request.release = release
