"""What only one process knows, for the worker that answers for all: open WebSockets, slow and failing requests.

Each slot of the board has a record in shared memory for one JSON document of its worker. It is written at most once a
second, and only while it has been read within the last seconds (`look`). One record more has what the process that
follows containers has told any worker.
"""

import json
import mmap
import time
import zlib
from time import monotonic
from typing import Any

from proxy.observe.metrics import SLOTS
from proxy.observe.shared_record import SharedRecord

CAPACITY = 32 << 10  # bytes of a compressed report, taken from the machine only as far as they are written to
_LONGEST = 1 << 20  # bytes of a report before it is compressed
_QUICKLY = 1  # zlib's level
INTEREST = 10.0  # seconds for which a read keeps the workers writing
SILENCE = 30.0
"""Seconds after which a process that reports nothing counts as ended."""
_TURNS = 1 << 60
_TRIES = 3  # readings of a report that is being written


class Reports:
    """The records of all slots. Made in the master before it forks; monotonic clocks of one machine agree."""

    def __init__(self) -> None:
        size = SharedRecord.size(CAPACITY)
        self._memory = mmap.mmap(-1, mmap.PAGESIZE + (SLOTS + 1) * size)
        view = memoryview(self._memory)
        self._looked = view[:8].cast("d")
        starts = range(mmap.PAGESIZE, len(view), size)
        *self._records, self._containers = (SharedRecord(view[start : start + size], CAPACITY) for start in starts)

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
        report = self._decoded(self._records[slot])
        return report if report and report["at"] > since else None

    @staticmethod
    def _decoded(record: SharedRecord) -> dict[str, Any] | None:
        for _ in range(_TRIES):
            turn = record.turn
            content = record.read(turn) if turn else b""
            if content:
                try:
                    report: dict[str, Any] = json.loads(zlib.decompressobj().decompress(content, _LONGEST))
                except (ValueError, zlib.error):  # written by a worker that was taken over
                    return None
                return report
        return None

    def note_containers(self, report: dict[str, Any]) -> None:
        """Replace what is known of containers. Raises ValueError when it is too long."""
        content = self._encoded({**report, "heard": round(time.time(), 3)})
        self._containers.write(content, self._containers.turn % _TURNS + 1)

    def containers(self) -> dict[str, Any] | None:
        """What was told last of a daemon and its containers, None if nothing ever was. Its `state` is "connected",
        "away", or "silent" when the process that follows them is heard no more."""
        report = self._decoded(self._containers)
        if report is None:
            return None
        del report["at"]
        state = "connected" if report.pop("connected", False) else "away"
        return {**report, "state": "silent" if time.time() - report["heard"] > SILENCE else state}

    def clear(self, slot: int) -> None:
        """The slot's worker is gone, and what it reported no longer true."""
        self._records[slot].clear()
