"""Maintenance: everybody is told to come back later, but for those who work on it."""

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from proxy import errors
from proxy.errors import ExchangeError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Switch(Protocol):
    """Whether a route is in maintenance at this moment."""

    @property
    def maintenance(self) -> bool: ...


class Maintenance:
    """Refuses while the switch is on, but for clients in `allowed`."""

    def __init__(self, switch: Switch, allowed: Sequence[Network]) -> None:
        self._switch = switch
        self._allowed = allowed

    def refuse(self, client: str) -> None:
        """Raises `ExchangeError` (503). `client` is an address; one that is none (a unix socket's) is not let in."""
        if self._switch.maintenance and not self._exempt(client):
            raise ExchangeError(errors.MAINTENANCE)

    def _exempt(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._allowed)
