"""Counters of things that come and go, such as routes and peers: one table of names, and for each worker its rows.

An entry has one name for all workers and a row in every slot, which only the slot's worker writes to. A worker holds
the entries that it counts in. When all are named, the one that no worker has held for longest gets another name: what
was counted under the former one is added to the folded numbers of each slot first, so that no sum ever falls.

    memory:  state | when entries were held last | names | marks | folded numbers, twice | rows

Names change under a lock. One store of `state` decides which copy of the folded numbers counts and which entry does not
count any more: a worker may be killed at any point, and the next one finishes what it began.
"""

import fcntl
import os
import weakref
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from tempfile import TemporaryFile
from time import monotonic, monotonic_ns, sleep
from typing import Final, NamedTuple

from proxy.observe.cells import OTHER

FOLDED: Final = ""
"""In the place of a name: what was counted under names that are gone."""

OVERFLOW: Final = 0
"""The entry of all names for which there is no other."""

LARGEST: Final = 1 << 62  # of all numbers
_PATIENCE = 0.1  # seconds in which the lock must be had; its holder is alive and needs a millisecond
_PAUSE = 0.001
_TRIES = 3  # readings while names change
_TURNS = 1 << 40


class Mark(IntEnum):
    """What a row is to its slot."""

    UNUSED = 0  # its numbers mean nothing
    HELD = 1  # its worker counts in it
    LEFT = 2  # its worker, or one before it, has counted in it


_IN_USE: Final = bytes([Mark.HELD, Mark.LEFT])


class Size(NamedTuple):
    """Of a directory."""

    slots: int
    entries: int
    name: int  # 8-byte words of a name
    width: int  # numbers of a row

    @property
    def words(self) -> int:
        """8-byte words of memory that it takes; slots come in eights."""
        rows = self.slots * self.width * (2 + self.entries)
        return 1 + self.entries * (1 + self.name) + self.slots * self.entries // 8 + rows


class Directory:
    """Made in the master before it forks. `words` is zeroed memory of `size.words`.

    `used` is the word that has how many slots were ever assigned. Nothing that is read is trusted.
    """

    def __init__(self, words: memoryview, size: Size, used: memoryview) -> None:
        slots, self.entries, name, self.width = size
        self._slots = slots
        self._used = used
        self._name = 8 * name
        parts = (1, self.entries, self.entries * name, slots * self.entries // 8, 2 * slots * self.width)
        starts = [sum(parts[:number]) for number in range(len(parts) + 1)]
        self._state, self._held_at, names, marks, self._folded = (
            words[start : start + length] for start, length in zip(starts, parts, strict=False)
        )
        self._names = names.cast("B")
        self._marks = marks.cast("B")
        self._rows = words[starts[-1] :]
        self._lock = _nameless_file()
        weakref.finalize(self, os.close, self._lock)

    # In a worker.

    def take(self, slot: int, name: str) -> int:
        """The entry of this name, held by the worker of this slot from now on; `OVERFLOW` if there is none for it, or
        it is empty."""
        raw = name.encode()[: self._name].ljust(self._name, b"\0")
        with self._locked() as locked:
            entry = self._entry(raw) if locked and name else OVERFLOW
            if self._mark(slot, entry) is Mark.UNUSED:
                self._clear(slot, entry)
            self._set_mark(slot, entry, Mark.HELD)
            self._held_at[entry] = monotonic_ns()
        return entry

    def release(self, slot: int, entry: int) -> None:
        """The worker of this slot counts in this entry no longer."""
        self._held_at[entry] = monotonic_ns()
        self._set_mark(slot, entry, Mark.LEFT)

    def row(self, slot: int, entry: int) -> memoryview:
        start = (slot * self.entries + entry) * self.width
        return self._rows[start : start + self.width]

    # For reading.

    def read(self, slots: Sequence[int]) -> list[tuple[str, list[int]]]:
        """Names and numbers of the rows in use in these slots; `FOLDED` is the first of each slot."""
        found: list[tuple[str, list[int]]] = []
        for _ in range(_TRIES):
            state = self._state[0]
            found = self._read(slots, state)
            if self._state[0] == state:
                break
        return found

    def _read(self, slots: Sequence[int], state: int) -> list[tuple[str, list[int]]]:
        folding, copy = self._parsed(state)
        names: dict[int, str] = {OVERFLOW: OTHER}
        found = []
        for slot in slots:
            found.append((FOLDED, self._folded_numbers(copy, slot).tolist()))
            for entry in self.in_use(slot):
                if entry == folding != OVERFLOW:
                    continue
                name = names.get(entry)
                if name is None:
                    name = names[entry] = self._raw_name(entry).rstrip(b"\0").decode("utf-8", "replace")
                if name:
                    found.append((name, self.row(slot, entry).tolist()))
        return found

    def in_use(self, slot: int) -> list[int]:
        """The entries that this slot has counted in."""
        # Entries are taken from the first on, so that nearly all slots end early.
        return [entry for entry, mark in enumerate(self._marks_of(slot).rstrip(b"\0")) if mark in _IN_USE]

    # In the master.

    def leave(self, slot: int) -> None:
        """The worker of this slot has died, and holds nothing any more. What cannot have been counted is reset."""
        for entry, mark in enumerate(self._marks_of(slot)):
            if mark == Mark.UNUSED:
                continue
            known = mark in _IN_USE
            self._set_mark(slot, entry, Mark.LEFT if known else Mark.UNUSED)
            if known:
                reset(self.row(slot, entry))
        for copy in range(2):
            reset(self._folded_numbers(copy, slot))

    # Names.

    def _entry(self, raw: bytes) -> int:
        """The entry of a name, under the lock."""
        self._finish()
        names = [self._raw_name(entry) for entry in range(self.entries)]
        if raw in names[1:]:
            return names.index(raw, 1)
        entry = next((entry for entry in range(1, self.entries) if not names[entry][0]), 0) or self._fold_oldest()
        if entry != OVERFLOW:
            # Its beginning last: an entry without one has no name.
            start = entry * self._name
            self._names[start + 8 : start + self._name] = raw[8:]
            self._names[start : start + 8] = raw[:8]
        return entry

    def _raw_name(self, entry: int) -> bytes:
        raw = self._names[entry * self._name : (entry + 1) * self._name].tobytes()
        return raw if raw[0] else bytes(self._name)

    def _fold_oldest(self) -> int:
        """An entry that no worker holds, its name and numbers gone; `OVERFLOW` if all are held."""
        end = self._used_slots * self.entries
        free = [
            entry
            for entry in range(1, self.entries)
            if Mark.HELD not in self._marks[entry : end : self.entries].tolist()
        ]
        if not free:
            return OVERFLOW
        oldest = min(free, key=self._held_at.__getitem__)
        _, copy = self._parsed(self._state[0])
        for slot in range(self._used_slots):
            folded = self._folded_numbers(copy, slot).tolist()
            if self._mark(slot, oldest) is not Mark.UNUSED:
                row = self.row(slot, oldest).tolist()
                folded = [min(before + number, LARGEST) for before, number in zip(folded, row, strict=True)]
            self._folded_numbers(1 - copy, slot)[:] = memoryview(array("q", folded))
        self._store(oldest, 1 - copy)
        self._finish()
        return oldest

    def _finish(self) -> None:
        """Clear the entry whose numbers are folded, if there is one."""
        folding, copy = self._parsed(self._state[0])
        if folding == OVERFLOW:
            return
        self._names[folding * self._name : folding * self._name + 8] = bytes(8)
        for slot in range(self._used_slots):
            self._clear(slot, folding)
            self._set_mark(slot, folding, Mark.UNUSED)
        self._store(OVERFLOW, copy)

    def _parsed(self, state: int) -> tuple[int, int]:
        """The entry whose numbers are folded and count no more, `OVERFLOW` if there is none; the copy that counts."""
        return (state >> 1) % (1 << 11) % self.entries, state & 1

    def _store(self, folding: int, copy: int) -> None:
        turn = ((self._state[0] >> 12) + 1) % _TURNS
        self._state[0] = turn << 12 | folding << 1 | copy

    # Places.

    @property
    def _used_slots(self) -> int:
        return max(0, min(self._used[0], self._slots))

    def _folded_numbers(self, copy: int, slot: int) -> memoryview:
        start = (copy * self._slots + slot) * self.width
        return self._folded[start : start + self.width]

    def _clear(self, slot: int, entry: int) -> None:
        self.row(slot, entry)[:] = memoryview(bytes(8 * self.width)).cast("q")

    def _marks_of(self, slot: int) -> bytes:
        return self._marks[slot * self.entries : (slot + 1) * self.entries].tobytes()

    def _mark(self, slot: int, entry: int) -> Mark:
        mark = self._marks[slot * self.entries + entry]
        return Mark(mark) if mark in _IN_USE else Mark.UNUSED

    def _set_mark(self, slot: int, entry: int, mark: Mark) -> None:
        self._marks[slot * self.entries + entry] = mark

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Whether the lock could be had; the kernel releases it when its holder dies."""
        deadline = monotonic() + _PATIENCE
        while not (locked := _lock(self._lock)) and monotonic() < deadline:
            sleep(_PAUSE)
        try:
            yield locked
        finally:
            if locked:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)


class Holdings:
    """The entries that one worker holds, by name."""

    def __init__(self, directory: Directory, slot: int) -> None:
        self._directory = directory
        self._slot = slot
        self._entries: dict[str, int] = {}

    def find(self, name: str) -> int:
        """The entry of this name."""
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = self._directory.take(self._slot, name)
        return entry

    def row(self, entry: int) -> memoryview:
        return self._directory.row(self._slot, entry)

    @property
    def names(self) -> list[str]:
        return list(self._entries)

    @property
    def entries(self) -> set[int]:
        return set(self._entries.values())

    def release(self, names: Collection[str]) -> list[int]:
        """Give up these names, and those in vain; return the entries that are held no longer."""
        vain = [name for name, entry in self._entries.items() if entry == OVERFLOW]
        entries = {self._entries.pop(name) for name in {*names, *vain} if name in self._entries} - {OVERFLOW}
        for entry in entries:
            self._directory.release(self._slot, entry)
        return list(entries)


def reset(numbers: memoryview) -> None:
    """Set those to 0 that cannot have been counted."""
    for place, number in enumerate(numbers.tolist()):
        if not 0 <= number < LARGEST:
            numbers[place] = 0


def _lock(file: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("aragora-proxy-names", os.MFD_CLOEXEC)
    with TemporaryFile() as file:
        return os.dup(file.fileno())
