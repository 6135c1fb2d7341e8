"""Maintenance: everybody is told to come back later, but for those who work on it."""

import ipaddress
from collections.abc import Sequence

from proxy import errors
from proxy.errors import ExchangeError
from proxy.upstream.request import Request
from proxy.values.web import Network


class Maintenance:
    """Refuses everybody but the clients in `allowed`. A route has this step only while it is in maintenance."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (503). A client without an address (on a unix socket) is not let in."""
        if not self._exempt(request.client):
            raise ExchangeError(errors.MAINTENANCE)

    def _exempt(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._allowed)
