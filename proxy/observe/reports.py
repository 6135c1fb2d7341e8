"""Facts that only one worker knows, told to whoever answers for all: open WebSockets, slow and failing requests.

Each slot of the board has an area in shared memory for one JSON document of its worker. It is written at most once a
second, and only while somebody has looked within the last seconds: `look` says so.

    area:  size | checksum | JSON
"""

import json
import mmap
from time import monotonic
from typing import Any
from zlib import crc32

from proxy.observe.metrics import SLOTS

AREA = 64 << 10  # bytes for each slot, taken from the machine only as far as they are written to
INTEREST = 10.0  # seconds for which a look keeps the workers writing
_HEAD = 16
_TRIES = 3  # readings of an area that is being written


class Reports:
    """The areas of all slots. Made in the master before it forks; monotonic clocks of one machine agree."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE + SLOTS * AREA)
        self._looked = memoryview(self._memory)[:8].cast("d")

    def look(self) -> None:
        """Somebody wants to know, now and for the next seconds."""
        self._looked[0] = monotonic()

    @property
    def wanted(self) -> bool:
        return bool(self._looked[0]) and monotonic() - self._looked[0] < INTEREST

    def publish(self, slot: int, report: dict[str, Any]) -> None:
        """Replace the report of a slot. While it is too long, its longest list loses the later half."""
        content = self._encoded(report)
        while len(content) > AREA - _HEAD:
            longest = max(
                (name for name, value in report.items() if isinstance(value, list)),
                key=lambda name: len(json.dumps(report[name])),
            )
            report = {**report, longest: report[longest][: len(report[longest]) // 2]}
            content = self._encoded(report)
        start = mmap.PAGESIZE + slot * AREA
        frame = len(content).to_bytes(8, "little") + crc32(content).to_bytes(8, "little") + content
        self._memory[start : start + len(frame)] = frame

    @staticmethod
    def _encoded(report: dict[str, Any]) -> bytes:
        return json.dumps({"at": monotonic(), **report}, separators=(",", ":")).encode()

    def read(self, slot: int, since: float = 0.0) -> dict[str, Any] | None:
        """The report of a slot if it was written after `since` (monotonic seconds), else None."""
        start = mmap.PAGESIZE + slot * AREA
        for _ in range(_TRIES):
            size = int.from_bytes(self._memory[start : start + 8], "little")
            checksum = int.from_bytes(self._memory[start + 8 : start + _HEAD], "little")
            content = self._memory[start + _HEAD : start + _HEAD + min(size, AREA)]
            if content and crc32(content) == checksum:
                report: dict[str, Any] = json.loads(content)
                return report if report["at"] > since else None
        return None

    def clear(self, slot: int) -> None:
        """The slot's worker is gone: nothing it told is true any more."""
        start = mmap.PAGESIZE + slot * AREA
        self._memory[start : start + 8] = bytes(8)
