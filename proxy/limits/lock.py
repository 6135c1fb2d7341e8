"""A lock between processes that outlives its holder.

A semaphore alone would stay taken for ever if its holder were killed. Whoever takes it therefore writes down its slot.
When the master buries a worker, and nobody gives the semaphore back for longer than any holder needs, the dead one had
it if its slot is the one written down: the master gives it back. If another's is, that one stands still, or the dead
one was killed before it could write: it is given back after a time in which nothing stands still.

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

_LONGEST_STANDSTILL = 1.0
"""Seconds more for one that is not known to be dead."""


class Lock:
    """Made in the master; `holder` is one word, zero: the number after the slot of whoever took it last."""

    def __init__(self, holder: memoryview) -> None:
        self.holder = holder
        self.acquire, self.release, self._outlives = _primitive()

    def take(self, slot: int) -> bool:
        """Take it in the worker of this slot; False if it could not be had in time."""
        if self.acquire(False) or self.wait():
            self.holder[0] = slot + 1
            return True
        return False

    def wait(self) -> bool:
        """Acquire it when it was not free."""
        return self.acquire(True, _PATIENCE)

    def give_back(self) -> None:
        try:
            self.release()
        except ValueError:  # this process stood still for so long that the master took it for dead
            pass

    def bury(self, slot: int) -> None:
        """In the master: the worker of this slot has died."""
        if not self._outlives:  # the kernel gave it back
            return
        if not self.acquire(True, _LONGEST_HOLD) and self.holder[0] != slot + 1:
            self.acquire(True, _LONGEST_STANDSTILL)
        self.give_back()


def _primitive() -> tuple[Callable[..., bool], Callable[[], None], bool]:
    """Taking, in time or not at all; giving back; whether what is taken stays so when its holder dies.

    A semaphore needs /dev/shm. Where that is missing (a bare chroot) a lock on a file does the same, four times as
    slowly: the kernel gives it back when its holder dies.
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
