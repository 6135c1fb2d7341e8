"""Token buckets, exact over all processes that share them.

A bucket is kept as what was taken out of it: a level that rises by one with each request that passes and sinks at the
limit's rate. Rate and burst are the caller's, so a changed limit goes on from what was already taken.
"""

from proxy.limits.lock import Lock

WAYS = 16  # places in which a key may stand


class Buckets:
    """Levels of at least `count` keys: open addressing over small sets, the one untouched longest makes room.

    `memory` is zeroed and has `words(count)` 8-byte words.
    """

    def __init__(self, memory: memoryview, count: int, lock: Lock, slot: int) -> None:
        places = _places(count)
        self._keys = memory[:places]
        # The same memory as floating point: monotonic seconds are the same for all processes of a machine.
        reals = memory.cast("b").cast("d")
        self._touched = reals[places : 2 * places]
        self._levels = reals[2 * places : 3 * places]
        self._sets = places // WAYS
        self._lock = lock
        self._slot = slot

    @staticmethod
    def words(count: int) -> int:
        return 3 * _places(count)

    def take(self, key: int, rate: float, burst: int, now: float) -> float:
        """Take one token from the bucket of `key`, which holds `burst` and gains `rate` a second.

        Returns the tokens left, 0 or more; or, when there is none to take, minus the seconds until there is. `now` is
        `time.monotonic()`. When the lock cannot be had the request passes.
        """
        slot = self._slot
        lock = self._lock
        lock.flags[slot] = 1  # `lock.take`, without a call: each request that is limited comes by here
        if not (lock.acquire(False) or lock.wait(slot)):
            return float(burst)
        try:
            levels = self._levels
            place = key % self._sets * WAYS
            if self._keys[place] != key:
                place = self._find(key, now)
            level: float = levels[place]
            # Time of another process that is a little ahead is not counted twice.
            passed = now - self._touched[place]
            if passed > 0.0:
                self._touched[place] = now
                level -= passed * rate
                if level < 0.0:
                    level = 0.0
            left = burst - 1.0 - level
            if left < 0.0:
                levels[place] = level
                return left / rate
            levels[place] = level + 1.0
            return left
        finally:
            lock.give_back(slot)

    def give_back(self, key: int) -> None:
        """Put a token back that was taken and not used after all."""
        if not self._lock.take(self._slot):
            return
        try:
            start = key % self._sets * WAYS
            for place, known in enumerate(self._keys[start : start + WAYS].tolist(), start):
                if known == key:
                    self._levels[place] = max(0.0, self._levels[place] - 1.0)
        finally:
            self._lock.give_back(self._slot)

    def _find(self, key: int, now: float) -> int:
        """Where the bucket of `key` is; a new one takes an empty place, else that of the oldest."""
        start = key % self._sets * WAYS
        keys = self._keys[start : start + WAYS].tolist()
        try:
            return start + keys.index(key)
        except ValueError:
            pass
        touched = self._touched[start : start + WAYS].tolist()
        place = start + (keys.index(0) if 0 in keys else touched.index(min(touched)))
        # Emptied before it is named: whoever dies in between leaves a bucket nobody owns.
        self._keys[place] = 0
        self._levels[place] = 0.0
        self._touched[place] = now
        self._keys[place] = key
        return place


def _places(count: int) -> int:
    return -(-count // WAYS) * WAYS
