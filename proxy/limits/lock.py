"""A lock between processes that outlives its holder.

A semaphore alone would stay taken for ever if its holder were killed. Each worker therefore raises a flag of its own
before it takes the semaphore and lowers it after giving it back. When the master buries a worker whose flag is up, and
nobody gives the semaphore back for longer than any holder needs, the dead one had it: the master gives it back.

What the lock guards is held for about a microsecond and never across a switch of greenlets, so waiting for it may
block. It is never waited for without end: a limit that cannot be asked must not stop the service.
"""

import multiprocessing

_PATIENCE = 0.5
"""Seconds a worker waits: longer than the master needs to bury a dead holder."""

_LONGEST_HOLD = 0.2
"""Seconds after which a holder cannot be alive, on the busiest machine."""


class Lock:
    """Made in the master with one flag word for each worker slot, all zero."""

    def __init__(self, flags: memoryview) -> None:
        self._flags = flags
        lock = multiprocessing.get_context("fork").Lock()
        self._acquire = lock.acquire
        self._release = lock.release

    def take(self, slot: int) -> bool:
        """Take it in the worker of this slot; False if it could not be had in time."""
        self._flags[slot] = 1
        return self._acquire(False) or self._wait(slot)

    def _wait(self, slot: int) -> bool:
        if self._acquire(True, _PATIENCE):
            return True
        self._flags[slot] = 0
        return False

    def give_back(self, slot: int) -> None:
        try:
            self._release()
        except ValueError:  # this process stood still for so long that the master took it for dead
            pass
        self._flags[slot] = 0

    def bury(self, slot: int) -> None:
        """In the master: the worker of this slot has died."""
        if self._flags[slot]:
            self._flags[slot] = 0
            self._acquire(True, _LONGEST_HOLD)
            self._release()
