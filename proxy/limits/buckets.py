"""Token buckets, exact over all processes that share them.

A bucket is kept as what was taken out of it: a level that rises by one with each request that passes and sinks at the
limit's rate. Rate and burst are the caller's, so a changed limit goes on from what was already taken.
"""

from collections.abc import Callable, Sequence

from proxy.limits.lock import Lock

WAYS = 16  # places in which a key may stand
_SIZE = 3  # of a record, in words: key, touched, level


class Bucket:
    """One key's bucket: the records among which its own is, if it has one, and which it was when last looked at."""

    __slots__ = ("key", "record", "start")

    def __init__(self, key: int, start: int, record: "memoryview[float]") -> None:
        self.key = float(key)
        self.start = start
        self.record = record


class Buckets:
    """Levels of at least `count` keys: open addressing over small sets, the one untouched longest makes room.

    `memory` is zeroed and has `words(count)` 8-byte words.
    """

    def __init__(self, memory: memoryview, count: int, lock: Lock, slot: int) -> None:
        # Floating point: monotonic seconds are the same for all processes of a machine, and a key is small enough.
        self._records = memory.cast("b").cast("d")
        self._sets = _places(count) // WAYS
        self._lock = lock
        self._slot = slot

    @staticmethod
    def words(count: int) -> int:
        return _SIZE * _places(count)

    def bucket(self, key: int) -> Bucket:
        """That of a key of `Keys`; to be remembered by whoever asks for it often."""
        start = key % self._sets * WAYS * _SIZE
        return Bucket(key, start, self._records[start : start + _SIZE])

    def meter(self, rate: float, burst: int) -> Callable[[Bucket, float], float]:
        """What takes one token from a bucket that holds `burst` and gains `rate` a second.

        It is given the bucket and `time.monotonic()`. It returns the tokens left, 0 or more; or, when there is none to
        take, minus the seconds until there is. When the lock cannot be had the request passes.
        """
        # Each request that is limited comes by here. Names of this function instead of attributes, a record read at
        # once, and the lock taken and given back (`Lock.take`, `Lock.give_back`) without calls take 4,000 instructions
        # instead of 6,400.
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
                # Time of another process that is a little ahead is not counted twice.
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
        """Put a token back that was taken and not used after all."""
        if not self._lock.take(self._slot):
            return
        try:
            record = self._search(bucket, bucket.key)
            if record is not None:
                record[2] = max(0.0, record[2] - 1.0)
        finally:
            self._lock.give_back()

    def _find(self, bucket: Bucket, now: float) -> "memoryview[float]":
        """The bucket's record, wherever it is; a new one takes an empty place, else that of the oldest."""
        record = self._search(bucket, bucket.key)
        if record is None:
            record = self._search(bucket, 0.0) or self._oldest(bucket)
            # Emptied before it is named: whoever dies in between leaves a bucket nobody owns.
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
