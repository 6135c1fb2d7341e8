"""A lock between processes that outlives its holder.

A semaphore alone would stay taken for ever if its holder were killed. Each worker therefore raises a flag of its own
before it takes the semaphore and lowers it after giving it back. When the master buries a worker whose flag is up, and
nobody gives the semaphore back for longer than any holder needs, the dead one had it: the master gives it back.

What the lock guards is held for about a microsecond and never across a switch of greenlets, so waiting for it may
block. It is never waited for without end: a limit that cannot be asked must not stop the service.
"""

import fcntl
import multiprocessing
import os
from collections.abc import Callable
from tempfile import TemporaryFile

_PATIENCE = 0.5
"""Seconds a worker waits: longer than the master needs to bury a dead holder."""

_LONGEST_HOLD = 0.2
"""Seconds after which a holder cannot be alive, on the busiest machine."""


class Lock:
    """Made in the master with one flag word for each worker slot, all zero."""

    def __init__(self, flags: memoryview) -> None:
        self.flags = flags
        self.acquire, self._release = _primitive()

    def take(self, slot: int) -> bool:
        """Take it in the worker of this slot; False if it could not be had in time."""
        self.flags[slot] = 1
        return self.acquire(False) or self.wait(slot)

    def wait(self, slot: int) -> bool:
        """The rest of `take` when the lock was not free."""
        if self.acquire(True, _PATIENCE):
            return True
        self.flags[slot] = 0
        return False

    def give_back(self, slot: int) -> None:
        try:
            self._release()
        except ValueError:  # this process stood still for so long that the master took it for dead
            pass
        self.flags[slot] = 0

    def bury(self, slot: int) -> None:
        """In the master: the worker of this slot has died."""
        if self.flags[slot]:
            self.flags[slot] = 0
            self.acquire(True, _LONGEST_HOLD)
            self._release()


def _primitive() -> tuple[Callable[..., bool], Callable[[], None]]:
    """Taking, in time or not at all, and giving back.

    A semaphore needs /dev/shm. Where that is missing (a bare chroot) a lock on a file does the same, four times as
    slowly: the kernel gives it back when its holder dies.
    """
    try:
        semaphore = multiprocessing.get_context("fork").Lock()
    except OSError:
        with TemporaryFile() as nameless:
            file = os.dup(nameless.fileno())
        return lambda *_: _lock_file(file), lambda: fcntl.lockf(file, fcntl.LOCK_UN)
    return semaphore.acquire, semaphore.release


def _lock_file(file: int) -> bool:
    fcntl.lockf(file, fcntl.LOCK_EX)
    return True
