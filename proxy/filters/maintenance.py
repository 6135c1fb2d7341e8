"""Maintenance mode: 503 for all clients except those of the allowed networks."""

from collections.abc import Sequence

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.settings.values.web import Network
from proxy.wire.forwarding import within


class Maintenance:
    """Refuses all clients but those in `allowed`. A route has this filter only while it is in maintenance."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (503). A client without an address (on a unix socket) is not let in."""
        if not within(request.client, self._allowed):
            raise ExchangeError(errors.MAINTENANCE)
