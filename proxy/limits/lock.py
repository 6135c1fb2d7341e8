"""A lock between processes that outlives its holder.

A plain semaphore would stay taken if its holder were killed, so the holder records its slot. After reaping a worker the
master waits longer than any legitimate hold; if the semaphore is still taken and the recorded slot is the dead
worker's, the master releases it. If another slot is recorded, that worker is suspended, or the dead one was killed
before it could record its own: the master releases the semaphore after a longer wait.

The lock is held for about a microsecond and never across a greenlet switch, so waiting for it may block. Every wait has
a deadline: an unavailable limit must not stop the service.
"""

import fcntl
import multiprocessing
import os
from collections.abc import Callable
from tempfile import TemporaryFile

_PATIENCE = 0.5
"""Seconds a worker waits: longer than the master needs to reap a dead holder."""

_LONGEST_HOLD = 0.2
"""Seconds after which no holder can still be alive, even on the busiest machine."""

_LONGEST_STANDSTILL = 1.0
"""Additional seconds for a holder that is not known to be dead."""


class Lock:
    """Made in the master; `holder` is one zeroed word: one more than the slot of the last holder."""

    def __init__(self, holder: memoryview) -> None:
        self.holder = holder
        self.acquire, self.release, self._outlives = _primitive()

    def take(self, slot: int) -> bool:
        """Take the lock in the worker of this slot; False if the deadline passed."""
        if self.acquire(False) or self.wait():
            self.holder[0] = slot + 1
            return True
        return False

    def wait(self) -> bool:
        """Wait for the lock."""
        return self.acquire(True, _PATIENCE)

    def give_back(self) -> None:
        try:
            self.release()
        except ValueError:  # this process was suspended for so long that the master released its lock
            pass

    def bury(self, slot: int) -> None:
        """In the master: the worker of this slot has died."""
        if not self._outlives:  # released by the kernel
            return
        if not self.acquire(True, _LONGEST_HOLD) and self.holder[0] != slot + 1:
            self.acquire(True, _LONGEST_STANDSTILL)
        self.give_back()


def _primitive() -> tuple[Callable[..., bool], Callable[[], None], bool]:
    """Acquire with a deadline, release, and whether the lock survives the death of its holder.

    A semaphore needs /dev/shm. Without it (a bare chroot) a file lock does the same, four times as slowly; the kernel
    releases it when its holder dies.
    """
    try:
        semaphore = multiprocessing.get_context("fork").Lock()
    except OSError:
        with TemporaryFile() as nameless:
            file = os.dup(nameless.fileno())
        return lambda *_: _lock_file(file), lambda: fcntl.lockf(file, fcntl.LOCK_UN), False
    return semaphore.acquire, semaphore.release, True


def _lock_file(file: int) -> bool:
    fcntl.lockf(file, fcntl.LOCK_EX)
    return True
