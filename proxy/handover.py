"""Settings handed from the master to workers that already run.

The master makes the memory before it forks; workers inherit it. Two halves are written in turn and a counter says
which holds the newest settings, so a worker never reads one that is being written.
"""

import mmap
import pickle
from zlib import crc32

from proxy.settings import Settings

_HALF = 1 << 20  # bytes, taken from the machine only as far as they are written to
_HEAD = 24


class Handover:
    """Shared memory with one writer (the master) and any number of readers (its workers)."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _HEAD + 2 * _HALF)
        self._turn = memoryview(self._memory)[:8].cast("q")

    def put(self, settings: Settings) -> None:
        """Publish settings that were checked. Raises ValueError when they are larger than the memory."""
        content = pickle.dumps(settings)
        if len(content) > _HALF - _HEAD:
            raise ValueError(f"the settings take {len(content)} bytes; at most {_HALF - _HEAD} can be handed over")
        turn = self._turn[0] + 1
        start = _HEAD + turn % 2 * _HALF
        frame = len(content).to_bytes(8, "little") + crc32(content).to_bytes(8, "little") + content
        self._memory[start:start + len(frame)] = frame
        self._turn[0] = turn

    def get(self) -> Settings | None:
        """The newest settings, or None when none were published yet."""
        settings = None
        while settings is None and self._turn[0]:
            settings = self._read(_HEAD + self._turn[0] % 2 * _HALF)
        return settings

    def _read(self, start: int) -> Settings | None:
        size = int.from_bytes(self._memory[start : start + 8], "little")
        checksum = int.from_bytes(self._memory[start + 8 : start + 16], "little")
        content = self._memory[start + 16 : start + 16 + size]
        if crc32(content) != checksum:
            return None  # overtaken: the master has published twice since the turn was read
        # Written by this process' own master into memory that nobody else can map.
        settings = pickle.loads(content)  # noqa: S301
        assert isinstance(settings, Settings)
        return settings
