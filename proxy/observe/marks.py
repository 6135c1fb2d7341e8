"""What was done to the gateway lately: commands, reloads, workers that died. They are the marks on the page's charts.

Each worker has a ring of its own in shared memory, and so has the master: only its owner writes to a ring, so nothing
is locked. A ring outlives its worker, and its successor goes on with it.

    ring:  how many were ever noted | marks
    mark:  time, written last | kind | text, NUL-padded
"""

import mmap
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, NamedTuple

MOST: Final = 16  # of each ring
KEPT: Final = 3600.0  # seconds for which a mark is shown
_TEXT = 29  # words: 232 bytes
_MARK = 2 + _TEXT
_RING = 1 + MOST * _MARK
_MILLI = 1000


class MarkKind(IntEnum):
    """What kind of change it was."""

    CHANGE = 0  # drain, maintenance, pause ...
    DEPLOY = 1
    RELOAD = 2
    FAULT = 3  # a reload that was refused, a worker that died


LAYOUT: Final = (MOST, _TEXT, tuple(MarkKind.__members__))


class Mark(NamedTuple):
    """One of them. `when` is unix seconds."""

    when: float
    kind: MarkKind
    text: str

    def document(self) -> dict[str, Any]:
        return {"when": self.when, "kind": self.kind.name.lower(), "text": self.text}


class Marks:
    """The rings, made in the master before it forks; the master's own is the first."""

    def __init__(self, owners: int, words: memoryview | None = None) -> None:
        """`words`: zeroed memory, without it made here."""
        self._words = memoryview(mmap.mmap(-1, Marks.words(owners) * 8)).cast("q") if words is None else words

    @staticmethod
    def words(owners: int) -> int:
        """8-byte words of memory that the rings take."""
        return owners * _RING

    def go_on(self, before: memoryview) -> None:
        """Take over the marks of another gateway."""
        for start in range(0, len(before), _RING):
            ring = before[start : start + _RING]
            if any(ring.tolist()):
                self._words[start : start + _RING] = ring

    def note(self, owner: int, kind: MarkKind, text: str, now: float) -> None:
        """Add a mark to the ring of this owner, in the place of its oldest."""
        ring = self._words[owner * _RING : (owner + 1) * _RING]
        at = 1 + ring[0] % MOST * _MARK
        ring[at] = 0
        ring[at + 1] = kind
        raw = text.encode("utf-8", "replace")[: _TEXT * 8].ljust(_TEXT * 8, b"\0")
        ring[at + 2 : at + _MARK] = memoryview(raw).cast("q")
        ring[at] = int(now * _MILLI)
        ring[0] = (ring[0] + 1) % MOST

    def read(self, owners: int, since: float, now: float) -> list[Mark]:
        """The marks of the first so many owners after `since` and of the last hour (unix seconds), oldest first."""
        first = max(since, now - KEPT)
        return sorted(mark for mark in self._all(owners) if first < mark.when <= now + 1)

    def _all(self, owners: int) -> Iterator[Mark]:
        words = self._words
        for start in range(1, owners * _RING, _RING):
            for at in range(start, start + MOST * _MARK, _MARK):
                if not words[at]:
                    continue
                raw = words[at + 2 : at + _MARK].tobytes().rstrip(b"\0")
                kind = MarkKind(words[at + 1]) if 0 <= words[at + 1] < len(MarkKind) else MarkKind.CHANGE
                yield Mark(words[at] / _MILLI, kind, raw.decode("utf-8", "replace"))
