"""Counting the connections of each client, over all workers."""

from typing import TYPE_CHECKING

from proxy.limits import WorkerLimits
from proxy.limits.concurrency import Counted

if TYPE_CHECKING:
    from proxy.limits.leases import Leases

_REFUSED = -1
_MOST_REFUSED = 64
"""Connections over the limit that are kept for as long as it takes to refuse their first request."""


class ConnectionLimit:
    """Open connections of one front that are counted, by descriptor: whatever object serves one, that stays."""

    def __init__(self, limits: WorkerLimits) -> None:
        self._limits = limits
        self._keys = limits.keys("client")
        self._concurrency = limits.concurrency
        self._known: dict[int, int] = {}
        self._leased: dict[int, tuple[Leases, str]] = {}
        """Those that several gateways count together."""
        self.refusing = 0
        """Connections whose requests are refused."""

    def acquire(self, descriptor: int, client: str, most: int) -> bool:
        """Count a connection. False if it is to be closed at once: its client and others have far too many."""
        key = self._keys.of_client(client)
        if self._concurrency.acquire(key, Counted.CONNECTIONS, most):
            self._known[descriptor] = key
            return True
        return self._refuse(descriptor)

    def must_wait(self, descriptor: int, client: str, most: int) -> bool:
        """Whether to `wait` before the connection, which has been counted here, is served: other gateways count it too,
        and no share of theirs is at hand."""
        leases = self._limits.leases
        if leases is None or self._known.get(descriptor) == _REFUSED:
            return False
        key = leases.key(Counted.CONNECTIONS, client)
        if not leases.take_held(key, most):
            return True
        self._leased[descriptor] = leases, key
        return False

    def wait(self, descriptor: int, client: str, most: int) -> bool:
        """Count the connection with those of other gateways. Waits. False as from `acquire`."""
        leases = self._limits.leases
        if leases is None:
            return True
        key = leases.key(Counted.CONNECTIONS, client)
        if leases.take(key, most):
            self._leased[descriptor] = leases, key
            return True
        self.release(descriptor)
        return self._refuse(descriptor)

    def _refuse(self, descriptor: int) -> bool:
        if self.refusing >= _MOST_REFUSED:
            return False
        self.refusing += 1
        self._known[descriptor] = _REFUSED
        return True

    def refused(self, descriptor: int) -> bool:
        """Whether requests on this connection are refused: its client has too many."""
        return self._known.get(descriptor) == _REFUSED

    def release(self, descriptor: int) -> None:
        """A connection, counted or not, is about to be closed."""
        leased = self._leased.pop(descriptor, None)
        if leased is not None:
            leases, shared = leased
            leases.give_back(shared)
        key = self._known.pop(descriptor, 0)
        if key == _REFUSED:
            self.refusing -= 1
        elif key:
            self._concurrency.release(key, Counted.CONNECTIONS)
