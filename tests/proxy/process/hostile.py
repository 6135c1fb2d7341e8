"""A worker in somebody else's hand: it writes whatever it can reach of what it shares with its master.

Run as `python -m tests.proxy.process.tiny` with TINY_WORKER=tests.proxy.process.hostile:Worker. `scribble HEX`
fills the shared memory with these bytes, `record JSON` leaves a record of orders that is whole and says that.
"""

import mmap
from collections.abc import Iterator
from typing import Any

from tests.proxy.process.tiny import Worker as TinyWorker


class Worker(TinyWorker):
    """Serves as the other does, until it is told to do harm."""

    def answer(self, lines: Any, line: str, is_admin: bool) -> None:
        word, _, rest = line.partition(" ")
        if word == "scribble":
            written = sum(fill(memory, bytes.fromhex(rest)) for memory in self.memories())
            print(written, file=lines, flush=True)
        elif word == "record":
            self.record(rest.encode())
            print("done", file=lines, flush=True)
        else:
            super().answer(lines, line, is_admin)

    def memories(self) -> Iterator[Any]:
        """Everything that was mapped before the fork."""
        shared = self.shared
        yield from (
            shared.config._memory,
            shared.certificates._memory._memory,
            shared.overrides._memory,
            shared.reports._memory,
        )
        limits = shared.limits
        yield from (shared.board._words, shared.board.history._words, shared.board.past.marks._words)
        yield from (limits.bucket_memory, limits.concurrency_memory, limits.lock.holder)

    def record(self, content: bytes) -> None:
        record = self.shared.overrides._record
        record.write(content, record.turn + 1)


def fill(memory: Any, pattern: bytes) -> int:
    """Fill it, and the number of bytes that could be written."""
    try:
        if isinstance(memory, mmap.mmap):
            memory[:] = (pattern * (len(memory) // len(pattern) + 1))[: len(memory)]
            return len(memory)
        raw = memory.cast("B")
        raw[:] = (pattern * (len(raw) // len(pattern) + 1))[: len(raw)]
        return len(raw)
    except TypeError:  # a view that only reads
        return 0
