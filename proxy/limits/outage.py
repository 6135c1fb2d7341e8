"""Whether the store of shared limits is known to be lost: one worker says so in the log for all."""

from proxy.limits.lock import Lock


class Outage:
    """`word` is one zeroed word that all workers share: the unix seconds since when the store has been lost."""

    def __init__(self, word: memoryview, lock: Lock, slot: int) -> None:
        self._word = word
        self._lock = lock
        self._slot = slot

    def begin(self, now: int) -> bool:
        """The store is lost; whether no other worker knew."""
        return self._change(now)

    def end(self) -> bool:
        """The store answers; whether it was lost."""
        return self._change(0)

    def _change(self, since: int) -> bool:
        if not self._lock.take(self._slot):
            return True
        try:
            changed = bool(self._word[0]) is not bool(since)
            if changed:
                self._word[0] = since
            return changed
        finally:
            self._lock.give_back()
