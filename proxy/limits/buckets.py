"""Token buckets, exact over all processes that share them.

A bucket is stored as what was taken out of it: a level that rises by one with each request that passes and falls at the
limit's rate. The caller supplies rate and burst, so a changed limit continues from what was already taken.
"""

from collections.abc import Callable, Sequence

from proxy.limits.lock import Lock

WAYS = 16  # places in which a key may stand
_SIZE = 3  # of a record, in words: key, touched, level


class Bucket:
    """One key's bucket: the set its record is in, if it has one, and which of the set it was last."""

    __slots__ = ("key", "record", "start")

    def __init__(self, key: int, start: int, record: "memoryview[float]") -> None:
        self.key = float(key)
        self.start = start
        self.record = record


class Buckets:
    """Levels of at least `count` keys, in small sets from which the least recently used is evicted.

    `memory` is zeroed and has `words(count)` 8-byte words.
    """

    def __init__(self, memory: memoryview, count: int, lock: Lock, slot: int) -> None:
        # As floats: monotonic seconds are the same for all processes of a machine, and a key fits.
        self._records = memory.cast("b").cast("d")
        self._sets = _places(count) // WAYS
        self._lock = lock
        self._slot = slot

    @staticmethod
    def words(count: int) -> int:
        return _SIZE * _places(count)

    def bucket(self, key: int) -> Bucket:
        """The bucket of a key of `Keys`; callers that need it often keep it."""
        start = key % self._sets * WAYS * _SIZE
        return Bucket(key, start, self._records[start : start + _SIZE])

    def meter(self, rate: float, burst: int) -> Callable[[Bucket, float], float]:
        """A function that takes one token from a bucket that holds `burst` and refills at `rate` per second.

        Its arguments are the bucket and `time.monotonic()`. It returns the tokens left, 0 or more; or, if there is
        none, minus the seconds until there is one. Without the lock the request passes.
        """
        # On the path of every limited request. Local names instead of attributes, one read of the record, and the lock
        # taken and given back inline (`Lock.take`, `Lock.give_back`) cost 4,000 instructions instead of 6,400.
        acquire, release, holder = self._lock.acquire, self._lock.release, self._lock.holder
        number = self._slot + 1
        most = burst - 1.0

        def take(bucket: Bucket, now: float) -> float:
            if not (acquire(False) or self._lock.wait()):
                return most + 1.0
            holder[0] = number
            try:
                record = bucket.record
                key, touched, level = record
                if key != bucket.key:
                    record = self._find(bucket, now)
                    key, touched, level = record
                # Another process's clock reading may be slightly ahead: that time is not counted twice.
                if now > touched:
                    record[1] = now
                    level -= (now - touched) * rate
                    if level < 0.0:
                        level = 0.0
                if level > most:
                    record[2] = level
                    return (most - level) / rate
                record[2] = level + 1.0
                return most - level
            finally:
                try:
                    release()
                except ValueError:
                    pass

        return take

    def give_back(self, bucket: Bucket) -> None:
        """Return a token that was taken but not used."""
        if not self._lock.take(self._slot):
            return
        try:
            record = self._search(bucket, bucket.key)
            if record is not None:
                record[2] = max(0.0, record[2] - 1.0)
        finally:
            self._lock.give_back()

    def _find(self, bucket: Bucket, now: float) -> "memoryview[float]":
        """The bucket's record; a new one takes an empty place, else that of the oldest."""
        record = self._search(bucket, bucket.key)
        if record is None:
            record = self._search(bucket, 0.0) or self._oldest(bucket)
            # Cleared before it is named: a process that dies in between leaves a bucket without an owner.
            record[0] = 0.0
            record[2] = 0.0
            record[1] = now
            record[0] = bucket.key
        bucket.record = record
        return record

    def _search(self, bucket: Bucket, key: float) -> "memoryview[float] | None":
        keys = self._column(bucket, 0)
        return self._record(bucket, keys.index(key)) if key in keys else None

    def _oldest(self, bucket: Bucket) -> "memoryview[float]":
        touched = self._column(bucket, 1)
        return self._record(bucket, touched.index(min(touched)))

    def _column(self, bucket: Bucket, word: int) -> Sequence[float]:
        """One word of each record in the bucket's set."""
        return self._records[bucket.start + word : bucket.start + WAYS * _SIZE : _SIZE].tolist()

    def _record(self, bucket: Bucket, way: int) -> "memoryview[float]":
        place = bucket.start + way * _SIZE
        return self._records[place : place + _SIZE]


def _places(count: int) -> int:
    return -(-count // WAYS) * WAYS
