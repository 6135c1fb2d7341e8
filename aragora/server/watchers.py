"""The watchers of this process: the bound on their number, and the call that ends them all.

A watcher is a WebSocket, an SSE stream or a long poll. It registers a function that wakes it; the function may be
called from any thread and must not block.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aragora.errors import TooManyRequests

RETRY_SECONDS = 5


class Watchers:
    """The watchers of one process."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.draining = False
        self._lock = threading.Lock()
        self._wakes: dict[int, Callable[[], None]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._wakes)

    def demand_room(self) -> None:
        """Raise `TooManyRequests` if no more would be admitted."""
        if len(self._wakes) >= self.limit:
            raise TooManyRequests(f"{self.limit} watchers are connected to this process", retry_after=RETRY_SECONDS)

    @contextmanager
    def admit(self, wake: Callable[[], None]) -> Iterator[None]:
        """Count one watcher while the block runs; raises `TooManyRequests` above the limit."""
        with self._lock:
            self.demand_room()
            number = self._next
            self._next += 1
            self._wakes[number] = wake
        try:
            yield
        finally:
            with self._lock:
                del self._wakes[number]

    def drain(self) -> None:
        """Let no watcher wait any longer: each is woken and finds `draining` set."""
        self.draining = True
        with self._lock:
            wakes = list(self._wakes.values())
        for wake in wakes:
            wake()
