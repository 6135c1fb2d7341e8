"""Counting the connections of each client, over all workers."""

from proxy.limits import WorkerLimits
from proxy.limits.concurrency import Counted

_REFUSED = -1
_MOST_REFUSED = 64
"""Connections over the limit that are kept for as long as it takes to refuse their first request."""


class ConnectionLimit:
    """Open connections of one front that are counted, by descriptor: whatever object serves one, that stays."""

    def __init__(self, limits: WorkerLimits) -> None:
        self._keys = limits.keys("client")
        self._concurrency = limits.concurrency
        self._known: dict[int, int] = {}
        self.refusing = 0
        """Connections whose requests are refused."""

    def acquire(self, descriptor: int, client: str, most: int) -> bool:
        """Count a connection. False if it is to be closed at once: its client and others have far too many."""
        key = self._keys.of_client(client)
        if self._concurrency.acquire(key, Counted.CONNECTIONS, most):
            self._known[descriptor] = key
            return True
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
        key = self._known.pop(descriptor, 0)
        if key == _REFUSED:
            self.refusing -= 1
        elif key:
            self._concurrency.release(key, Counted.CONNECTIONS)
