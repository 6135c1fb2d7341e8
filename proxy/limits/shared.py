"""The shared memory of all limits, made in the master, and what one worker sees of it."""

import mmap
import os

from proxy.limits.buckets import Buckets
from proxy.limits.concurrency import Concurrency
from proxy.limits.keys import Keys
from proxy.limits.lock import Lock


class WorkerLimits:
    """One worker's access: `buckets` for rates, `concurrency` for open connections, `keys(family)` for their keys."""

    def __init__(self, limits: "Limits", slot: int) -> None:
        self._secret = limits.secret
        self.buckets = Buckets(limits.bucket_memory, limits.count, limits.lock, slot)
        self.concurrency = Concurrency(limits.concurrency_memory, limits.count, limits.slots, limits.lock, slot)

    def keys(self, family: str) -> Keys:
        """The keys of one limit: the same client has unrelated keys in different families."""
        return Keys(self._secret, family)


class Limits:
    """Made before the fork, with room for `count` keys and workers in `slots` slots.

    The memory is taken from the machine only as far as it is written to: at most 56 bytes for each key.
    """

    def __init__(self, count: int, slots: int) -> None:
        self.count = count
        self.slots = slots
        self.secret = os.urandom(16)
        concurrency = 1 + Buckets.words(count)
        words = memoryview(mmap.mmap(-1, 8 * (concurrency + Concurrency.words(count, slots)))).cast("q")
        self.lock = Lock(words[:1])
        self.bucket_memory = words[1:concurrency]
        self.concurrency_memory = words[concurrency:]
        self._concurrency = Concurrency(self.concurrency_memory, count, slots, self.lock, 0)

    def worker(self, slot: int) -> WorkerLimits:
        """For the worker that was given this slot; called in its process."""
        return WorkerLimits(self, slot)

    def begin(self, slot: int) -> None:
        """In the master, before the fork: a worker takes this slot."""
        self._concurrency.begin(slot)

    def end(self, slot: int) -> None:
        """In the master: the worker of this slot has died, at whatever point."""
        self.lock.bury(slot)
        self._concurrency.end(slot)
