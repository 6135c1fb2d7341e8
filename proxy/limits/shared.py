"""The shared memory of all limits, made in the master, and what one worker sees of it."""

import mmap
import os
from typing import TYPE_CHECKING

from proxy.limits.buckets import Buckets
from proxy.limits.concurrency import Concurrency
from proxy.limits.keys import Keys
from proxy.limits.lock import Lock
from proxy.limits.outage import Outage
from proxy.observe.metrics import Counters
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.limits.leases import Leases
    from proxy.limits.link import Link


class WorkerLimits:
    """One worker's access: `buckets` for rates, `concurrency` for open connections, `keys(family)` for their keys.

    `link`, if there is one, leads to what several gateways count together; `leases` are its shares of what is open.
    """

    def __init__(self, limits: "Limits", slot: int) -> None:
        self._secret = limits.secret
        self._outage = Outage(limits.outage, limits.lock, slot)
        self._shared_with: tuple[object, ...] = ()
        self.link: Link | None = None
        self.leases: Leases | None = None
        self.buckets = Buckets(limits.bucket_memory, limits.count, limits.lock, slot)
        self.concurrency = Concurrency(limits.concurrency_memory, limits.count, limits.slots, limits.lock, slot)

    def share(self, settings: Settings, counters: Counters) -> None:
        """Count together with other gateways as these settings have it; called before filters are built of them."""
        shared_with = (
            settings.shared_limits,
            settings.shared_limits_password,
            settings.shared_limits_tls,
            settings.shared_limits_timeout,
            bool(settings.max_client_connections or settings.max_client_websockets),
        )
        if shared_with == self._shared_with:
            return
        self._shared_with = shared_with
        if self.link is not None and self.leases is not None:
            self.leases.close()
            self.link.close()
            self.link = self.leases = None
        if settings.shared_limits is not None:
            # The library is optional, and takes 10 MiB.
            from proxy.limits.leases import Leases
            from proxy.limits.link import Link

            self.link = Link(settings, self._outage, counters)
            self.leases = Leases(self.link, counters)

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
        buckets = 2  # after the lock's word and that of the outage
        concurrency = buckets + Buckets.words(count)
        words = memoryview(mmap.mmap(-1, 8 * (concurrency + Concurrency.words(count, slots)))).cast("q")
        self.lock = Lock(words[:1])
        self.outage = words[1:buckets]
        self.bucket_memory = words[buckets:concurrency]
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
