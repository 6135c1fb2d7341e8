"""What one worker has of the cache: the index that all share, the bodies, and the bounds of both."""

from math import inf
from pathlib import Path
from time import monotonic
from typing import Final

import gevent

from proxy.cache.flights import Flights
from proxy.cache.index import Entry, Index, Purge
from proxy.cache.index_memory import IndexMemory
from proxy.cache.objects import Held, Incoming, Objects
from proxy.cache.stamps import Stamps
from proxy.errors import ExchangeError
from proxy.log import log
from proxy.net.disk import PATIENCE, in_thread
from proxy.net.event_loop import give_way

_NOTED_AFTER: Final = 10.0
"""Seconds after which another use of an entry is noted: what is used often need not be noted each time."""
_AT_ONCE: Final = 1000
"""Files that wait to be removed by a sweep."""
_PAUSES: Final = (0.05, 0.2, 0.5)
"""Seconds between tries to change an index that another worker writes to."""
_LARGEST_SHARE: Final = 8
"""No response takes more than one eighth of the room."""


class Store:
    """Stored responses, within `most_bytes` and `most_entries`."""

    def __init__(self, directory: Path, most_bytes: int, most_entries: int) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            log.warning("cache_dir %s: cannot be made: %s: nothing is stored", directory, problem.strerror)
        stamps = Stamps(directory)
        self.index = Index(directory, stamps, most_entries)
        self.memory = IndexMemory(self.index, stamps)
        self.flights = Flights(directory)
        self._objects = Objects(directory / "objects")
        self._most_bytes = most_bytes
        self._most_entries = most_entries

    @property
    def largest(self) -> int:
        """Most bytes of one response."""
        return self._most_bytes // _LARGEST_SHARE

    def ready(self, entry: Entry) -> Held | None:
        """The body of an entry, if it is in memory."""
        return self._objects.in_memory(entry.object)

    def again(self, entry: Entry) -> int | None:
        """The descriptor of a large body's file, which the caller closes, if it takes no waiting to open it."""
        return self._objects.open_again(entry.object)

    def body(self, entry: Entry) -> bytes | int | None:
        """The body of an entry, or the descriptor of its file, which the caller closes; None if it is lost."""
        held = self.ready(entry)
        if held is None:
            try:
                opened = self._objects.open(entry.object, entry.size, entry.checksum)
            except ExchangeError:  # the disk does not answer
                return None
            if opened is None:
                self.remove(entry)
            return opened
        return held.data

    def used(self, entry: Entry, now: float) -> None:
        """Note that an entry was used."""
        if not 0 <= now - entry.used < _NOTED_AFTER:
            self.index.use(entry.key, now)

    def incoming(self) -> Incoming | None:
        """Where a new body is written to; None if there is no room."""
        try:
            return self._objects.create()
        except OSError:
            return None

    def put(self, entry: Entry, asked: float = inf) -> None:
        """Store an entry whose body was written, and make room for it; `asked` as for the index."""
        unused = self.index.put(entry, asked)
        if unused is None:
            self._objects.remove([entry.object])
            return
        self._objects.remove([*unused, *self.index.shrink(self._most_bytes, self._most_entries)])

    def drop(self, incoming: Incoming) -> None:
        """A body will not be complete."""
        incoming.close()
        self._objects.remove([incoming.name])

    def remove(self, entry: Entry) -> None:
        """Remove an entry that cannot be used."""
        self._objects.remove([entry.object, *self.index.remove(entry.key, entry.object)])

    def invalidate(self, url: bytes) -> None:
        """Remove what is stored of an address, and let nothing in that is on its way; may wait for the index.

        If that is impossible everything is forgotten: requests then wait for the application, and none gets what is
        invalid.
        """
        asked = monotonic()
        for pause in _PAUSES:
            names = self.index.invalidate(url, asked)
            if names is not None:
                self._objects.remove(names)
                return
            if not self.index.busy:
                break
            gevent.sleep(pause)
        self.index.discard()
        self.index.invalidate(url, asked)

    def purge(self, which: Purge, value: str) -> int | None:
        """Remove what is meant, and let nothing in that is on its way: how many, None if it failed."""
        purging = gevent.spawn(self._purge, which, value)  # it ends, also if the caller does not wait for that
        count: int | None = purging.get()
        return count

    def _purge(self, which: Purge, value: str) -> int | None:
        count = 0
        for names in self.index.purge(which, value, monotonic()):
            if names is None:
                return None
            count += len(names)
            self._remove_all(names)
        return count

    def _remove_all(self, names: list[str]) -> None:
        """Remove so many files that others are to be served first, and no more are to wait than these."""
        self._objects.remove(names)
        self._objects.removal.wait(PATIENCE)
        give_way()

    def sweep(self) -> None:
        """Remove what is beyond the bounds, which may be new ones, and the files that no entry has, as an end without
        warning leaves them; in a greenlet of its own."""
        gevent.spawn(self._sweep)

    def unused(self) -> list[str]:
        """The files that no entry has, but for young ones. Reads the disk in a thread."""
        used = self.index.objects()
        try:
            return in_thread(lambda: self._objects.unused(used))
        except ExchangeError:  # the disk does not answer
            return []

    def _sweep(self) -> None:
        while names := self.index.shrink(self._most_bytes, self._most_entries):
            self._remove_all(names)
        unused = self.unused()
        for begin in range(0, len(unused), _AT_ONCE):
            self._remove_all(unused[begin : begin + _AT_ONCE])
