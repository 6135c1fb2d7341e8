"""What only one worker knows, for the worker that answers for all: open WebSockets, slow and failing requests.

Each slot of the board has a record in shared memory for one JSON document of its worker. It is written at most once a
second, and only while it has been read within the last seconds (`look`).
"""

import json
import mmap
import zlib
from time import monotonic
from typing import Any

from proxy.observe.metrics import SLOTS
from proxy.observe.shared_record import SharedRecord

CAPACITY = 32 << 10  # bytes of a compressed report, taken from the machine only as far as they are written to
_LONGEST = 1 << 20  # bytes of a report before it is compressed
_QUICKLY = 1  # zlib's level
INTEREST = 10.0  # seconds for which a read keeps the workers writing
_TURNS = 1 << 60
_TRIES = 3  # readings of a report that is being written


class Reports:
    """The records of all slots. Made in the master before it forks; monotonic clocks of one machine agree."""

    def __init__(self) -> None:
        size = SharedRecord.size(CAPACITY)
        self._memory = mmap.mmap(-1, mmap.PAGESIZE + SLOTS * size)
        view = memoryview(self._memory)
        self._looked = view[:8].cast("d")
        starts = range(mmap.PAGESIZE, len(view), size)
        self._records = [SharedRecord(view[start : start + size], CAPACITY) for start in starts]

    def look(self) -> None:
        """Have the workers write reports, now and for the next seconds."""
        self._looked[0] = monotonic()

    @property
    def wanted(self) -> bool:
        return bool(self._looked[0]) and monotonic() - self._looked[0] < INTEREST

    def publish(self, slot: int, report: dict[str, Any]) -> None:
        """Replace the report of a slot. While it is too long, its longest list loses the later half."""
        content = self._encoded(report)
        while len(content) > CAPACITY:
            longest = max(
                (name for name, value in report.items() if isinstance(value, list)),
                key=lambda name: len(json.dumps(report[name])),
            )
            report = {**report, longest: report[longest][: len(report[longest]) // 2]}
            content = self._encoded(report)
        record = self._records[slot]
        record.write(content, record.turn % _TURNS + 1)

    @staticmethod
    def _encoded(report: dict[str, Any]) -> bytes:
        return zlib.compress(json.dumps({"at": monotonic(), **report}, separators=(",", ":")).encode(), _QUICKLY)

    def read(self, slot: int, since: float = 0.0) -> dict[str, Any] | None:
        """The report of a slot if it was written after `since` (monotonic seconds), else None."""
        record = self._records[slot]
        for _ in range(_TRIES):
            turn = record.turn
            content = record.read(turn) if turn else b""
            if content:
                try:
                    report: dict[str, Any] = json.loads(zlib.decompressobj().decompress(content, _LONGEST))
                except (ValueError, zlib.error):  # written by a worker that was taken over
                    return None
                return report if report["at"] > since else None
        return None

    def clear(self, slot: int) -> None:
        """The slot's worker is gone, and what it reported no longer true."""
        self._records[slot].clear()
