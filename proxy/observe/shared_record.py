"""A byte string in shared memory: replaced whole, read whole, without a lock.

    memory:  turn | half 0 | half 1          half:  size | checksum | content

A writer fills the half that the next turn points to, then stores the turn: a reader never looks at a half that is being
written, unless two writes overtake its one read, which the checksum shows. Writers exclude each other by other means.
Nothing that is read is trusted: sizes are bounded, and what does not fit its checksum is not returned.
"""

from zlib import crc32

_TURN = 8  # bytes
_HEAD = 16


class SharedRecord:
    """A record of up to `capacity` bytes in `memory`, which is zeroed and has `SharedRecord.size(capacity)` bytes."""

    def __init__(self, memory: memoryview, capacity: int) -> None:
        self._memory = memory
        self._turn = memory[:_TURN].cast("q")
        self._capacity = capacity

    @staticmethod
    def size(capacity: int) -> int:
        """Bytes of memory that a record takes: whole words, so that turns of neighbours are stored at once."""
        return -(-(_TURN + 2 * (_HEAD + capacity)) // _TURN) * _TURN

    @property
    def turn(self) -> int:
        """Which write was the newest; 0 before the first."""
        return self._turn[0]

    def write(self, content: bytes, turn: int) -> None:
        """Replace the content; `turn` is the one after the newest. Raises ValueError when it is too long."""
        if len(content) > self._capacity:
            raise ValueError(f"{len(content)} bytes do not fit into {self._capacity}")
        start = self._start(turn)
        frame = len(content).to_bytes(8, "little") + crc32(content).to_bytes(8, "little") + content
        self._memory[start : start + len(frame)] = frame
        self._turn[0] = turn

    def read(self, turn: int) -> bytes | None:
        """What was written in that turn, or None when it was overwritten meanwhile."""
        start = self._start(turn)
        size = int.from_bytes(self._memory[start : start + 8], "little")
        checksum = int.from_bytes(self._memory[start + 8 : start + _HEAD], "little")
        start += _HEAD
        content = bytes(self._memory[start : start + min(size, self._capacity)])
        return content if crc32(content) == checksum else None

    def clear(self) -> None:
        """As it was before the first write."""
        self._turn[0] = 0

    def release(self) -> None:
        """Give up the views of the memory, so that it can be unmapped."""
        self._turn.release()
        self._memory.release()

    def _start(self, turn: int) -> int:
        return _TURN + turn % 2 * (_HEAD + self._capacity)
