"""How many connections and WebSockets each client has open, across all workers.

Each worker has rows of its own, marked with the number that its slot got when it started. When a worker dies, its
counts are void: no slot has its number any more, and rows marked with it are free.
"""

from array import array
from enum import IntEnum

from proxy.limits.lock import Lock

WAYS = 16


class Counted(IntEnum):
    """What is counted."""

    CONNECTIONS = 0
    WEBSOCKETS = 1


class Concurrency:
    """Counts per client, by key. `memory` is zeroed and has `words(count, slots)` 8-byte words.

    number of each slot | keys | numbers | connections | WebSockets
    """

    def __init__(self, memory: memoryview, count: int, slots: int, lock: Lock, slot: int) -> None:
        places = _places(count)
        start = slots
        self._given = 0
        self._alive = array("q", bytes(8 * slots))  # the master's own copy of the numbers: workers can write to memory
        self._numbers = memory[:start]
        self._keys = memory[start : start + places]
        self._owners = memory[start + places : start + 2 * places]
        self._counts = [memory[start + (2 + kind) * places : start + (3 + kind) * places] for kind in Counted]
        self._sets = places // WAYS
        self._lock = lock
        self._slot = slot

    @staticmethod
    def words(count: int, slots: int) -> int:
        return slots + (2 + len(Counted)) * _places(count)

    def begin(self, slot: int) -> None:
        """In the master, before the fork: a worker takes this slot."""
        self._given += 1
        self._alive[slot] = self._given
        self._numbers[:] = memoryview(self._alive)

    def end(self, slot: int) -> None:
        """In the master: the worker of this slot has died, and its clients' connections with it."""
        self._alive[slot] = 0
        self._numbers[:] = memoryview(self._alive)

    def acquire(self, key: int, kind: Counted, most: int) -> bool:
        """Count one more for the client unless it already has `most` in all workers together.

        Each success must be paired with `release`. Without the lock, or if all places for the key are taken by
        connected clients, nothing is refused.
        """
        if not self._lock.take(self._slot):
            return True
        try:
            if self._total(key, kind) >= most:
                return False
            place = self._place(key, self._slot, self._numbers[self._slot])
            if place is None:
                place = self._new_place(key)
            if place is not None:
                self._counts[kind][place] += 1
            return True
        finally:
            self._lock.give_back()

    def release(self, key: int, kind: Counted) -> None:
        """Undo one `acquire`."""
        # Only this worker writes to the row, so doing without the lock is harmless.
        taken = self._lock.take(self._slot)
        try:
            place = self._place(key, self._slot, self._numbers[self._slot])
            if place is not None and self._counts[kind][place] > 0:
                self._counts[kind][place] -= 1
        finally:
            if taken:
                self._lock.give_back()

    def count(self, key: int, kind: Counted) -> int:
        """The client's current count over all workers."""
        return self._total(key, kind)

    def _start(self, key: int, slot: int) -> int:
        # Offset by slot: a client connected to every worker does not fill the places it shares with others.
        return (key + slot * 0x9E3779B1) % self._sets * WAYS

    def _total(self, key: int, kind: Counted) -> int:
        total = 0
        for slot, number in enumerate(self._numbers.tolist()):
            if number:
                place = self._place(key, slot, number)
                if place is not None:
                    total += self._counts[kind][place]
        return total

    def _place(self, key: int, slot: int, number: int) -> int | None:
        start = self._start(key, slot)
        for place, known in enumerate(self._keys[start : start + WAYS].tolist(), start):
            if known == key and self._owners[place] == number:
                return place
        return None

    def _new_place(self, key: int) -> int | None:
        """A place whose client is gone, or None if all are taken by connected clients."""
        alive = set(self._numbers.tolist()) - {0}
        start = self._start(key, self._slot)
        for place in range(start, start + WAYS):
            if self._owners[place] not in alive or not any(counts[place] for counts in self._counts):
                self._owners[place] = 0
                for counts in self._counts:
                    counts[place] = 0
                self._keys[place] = key
                self._owners[place] = self._numbers[self._slot]
                return place
        return None


def _places(count: int) -> int:
    return -(-count // WAYS) * WAYS
