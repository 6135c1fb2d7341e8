"""What one worker remembers of the index, for as long as nothing changes there (`proxy.cache.stamps`)."""

from time import monotonic
from typing import Final

from proxy.cache.index import Entry, Index, Resource
from proxy.cache.stamps import Stamps, place
from proxy.wire.memo import BoundedMemo

REMEMBERED: Final = 10.0
"""Seconds after which the index is read again in any case."""
_MOST_RESOURCES: Final = 4096
_MOST_ENTRIES: Final = 256
"""Entries that are remembered of one resource."""
_MOST_BYTES: Final = 16 << 20
"""Of all entries."""
_OVERHEAD: Final = 1024
"""Bytes of an entry beside its field lines, about."""


class Reading:
    """What was read about one resource."""

    __slots__ = ("_at", "_stamp", "_until", "_words", "entries", "resource")

    def __init__(self, words: memoryview | None, at: int, until: float) -> None:
        self._words = words
        self._at = at
        self._stamp = 0 if words is None else words[at]
        self._until = until
        """Monotonic seconds."""
        self.resource: Resource | None = None
        self.entries: BoundedMemo[bytes, Entry | None] = BoundedMemo(_MOST_ENTRIES)
        """By their keys, None for one that there is not."""

    @property
    def unchanged(self) -> bool:
        """Whether nothing has changed since."""
        words = self._words
        return words is not None and words[self._at] == self._stamp

    @property
    def valid(self) -> bool:
        """Whether it need not be read again."""
        return self.unchanged and monotonic() < self._until


class IndexMemory:
    """Answers as the index does. Without marks that are shared with the other workers it remembers nothing."""

    def __init__(self, index: Index, stamps: Stamps) -> None:
        self._index = index
        self._stamps = stamps
        self._known: BoundedMemo[bytes, Reading] = BoundedMemo(_MOST_RESOURCES)
        self._held = 0

    def about(self, resource: bytes) -> Reading:
        """What is known of a resource, by its key, and of those of its entries that were asked for."""
        known = self._known.get(resource)
        if known is not None and known.valid:
            return known
        self._stamps.check()
        # The mark is read before the index: what changes between the two is read, and read again the next time.
        known = Reading(self._stamps.words, place(resource), monotonic() + REMEMBERED)
        known.resource = self._index.resource(resource)
        return self._known.remember(resource, known)

    def entry(self, reading: Reading, key: bytes) -> Entry | None:
        """An entry of the resource that was read, by its key."""
        entries = reading.entries
        if key in entries and reading.valid:
            return entries[key]
        entry = self._index.entry(key)
        self._bound(0 if entry is None else len(entry.lines))
        return entries.remember(key, entry)

    def _bound(self, more: int) -> None:
        self._held += more + _OVERHEAD
        if self._held > _MOST_BYTES:
            self._held = 0
            self._known.clear()
