"""Maintenance: everybody is told to come back later, but for those who work on it."""

from collections.abc import Sequence

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.settings.values.web import Network
from proxy.wire.forwarding import within


class Maintenance:
    """Refuses everybody but the clients in `allowed`. A route has this step only while it is in maintenance."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (503). A client without an address (on a unix socket) is not let in."""
        if not within(request.client, self._allowed):
            raise ExchangeError(errors.MAINTENANCE)
