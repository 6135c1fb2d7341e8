"""Settings, and what was read for them, handed from the master to workers that already run.

The master makes the memory before it forks; workers inherit it. Two halves are written in turn and a counter says
which holds the newest, so a worker never reads one that is being written.
"""

import mmap
import pickle
from typing import Generic, TypeVar
from zlib import crc32

Content = TypeVar("Content")

_HALF = 1 << 20  # bytes, taken from the machine only as far as they are written to
_HEAD = 24


class Handover(Generic[Content]):
    """Shared memory for objects of one `kind`, with one writer (the master) and any number of readers (its workers)."""

    def __init__(self, kind: type[Content]) -> None:
        self._kind = kind
        self._memory = mmap.mmap(-1, _HEAD + 2 * _HALF)
        self._turn = memoryview(self._memory)[:8].cast("q")

    @property
    def turn(self) -> int:
        """How often something was published."""
        return self._turn[0]

    def put(self, published: Content) -> None:
        """Publish what was checked. Raises ValueError when it is larger than the memory."""
        content = pickle.dumps(published)
        if len(content) > _HALF - _HEAD:
            raise ValueError(
                f"the {self._kind.__name__} takes {len(content)} bytes; at most {_HALF - _HEAD} can be handed over"
            )
        turn = self._turn[0] + 1
        start = _HEAD + turn % 2 * _HALF
        frame = len(content).to_bytes(8, "little") + crc32(content).to_bytes(8, "little") + content
        self._memory[start : start + len(frame)] = frame
        self._turn[0] = turn

    def get(self) -> Content | None:
        """The newest, or None when nothing was published yet."""
        newest = None
        while newest is None and self._turn[0]:
            newest = self._read(_HEAD + self._turn[0] % 2 * _HALF)
        return newest

    def _read(self, start: int) -> Content | None:
        size = int.from_bytes(self._memory[start : start + 8], "little")
        checksum = int.from_bytes(self._memory[start + 8 : start + 16], "little")
        content = self._memory[start + 16 : start + 16 + size]
        if crc32(content) != checksum:
            return None  # overtaken: the master has published twice since the turn was read
        # Written by this process' own master into memory that nobody else can map.
        newest = pickle.loads(content)  # noqa: S301
        assert isinstance(newest, self._kind)
        return newest
