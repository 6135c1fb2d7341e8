"""A body kept until it is taken: in memory while small, in an unlinked temporary file beyond.

What the spools of a process have in memory together is bounded: beyond that the next ones begin with their file. What
all files of all workers have in them together is bounded too. Responses may fill half of the room alone: readers that
take their time leave the other half to uploads, which cannot be answered without it.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from math import inf
from typing import IO

from proxy.net.stream import Sink

_SEND_SIZE = 1 << 20
_READ_SIZE = 1 << 16


MOST_IN_MEMORY = 64 << 20
"""Bytes that all spools of a process have in memory together: a thousand of the usual 64 KiB."""

REQUESTS, RESPONSES = 1.0, 0.5
"""Share of the room up to which bodies of this kind may fill it."""


class Room:
    """What the spools of this process have on disk, beside those of others, and how much all of them may have.

    The bound holds up to a piece of at most 1 MiB for each worker: they look at each other's figures, without a lock.
    """

    def __init__(self) -> None:
        self.most: float = inf
        """Bytes."""
        self.in_memory = 0
        """Bytes that the spools of this process have there."""
        self._mine = 0
        self._tell: Callable[[int], object] = int
        self._all: Callable[[], int] = lambda: self._mine
        self._refused: Callable[[], object] = int

    def share(
        self, tell: Callable[[int], object], used_by_all: Callable[[], int], refused: Callable[[], object]
    ) -> None:
        """From now on `tell` what is used here, ask what is used by all, and say each time that it was too much."""
        self._tell, self._all, self._refused = tell, used_by_all, refused

    def admit(self, size: int, share: float) -> None:
        """Raises `OSError` if that much more does not fit."""
        if self._all() + size > self.most * share:
            self._refused()
            raise OSError(errno.EDQUOT, "spool_total is used up")

    def take(self, size: int) -> None:
        """That much more, or less, is on disk."""
        self._mine += size
        self._tell(self._mine)


room = Room()
"""This process'."""


class Spool:
    """An append-only body that can be sent from any offset, as often as needed (a retry sends it again).

    Every method that writes raises `OSError` when the disk is full, or the `share` of the room that such bodies have;
    what was appended before stays whole.
    """

    __slots__ = ("_directory", "_file", "_memory", "_memory_limit", "_share", "length")

    def __init__(self, memory_limit: int, directory: str | None, *, share: float = RESPONSES) -> None:
        self._memory = bytearray()
        self._share = share
        self._memory_limit = memory_limit
        self._directory = directory
        self._file: IO[bytes] | None = None
        self.length = 0

    def append(self, data: bytes | memoryview) -> None:
        size = len(data)
        if self._file is None and self.length + size <= self._memory_limit and room.in_memory + size <= MOST_IN_MEMORY:
            self._memory += data
            room.in_memory += size
        else:
            room.admit(size, self._share)
            _write(self._opened(), data, self.length)
            room.take(size)
        self.length += size

    def append_from(self, copy: Callable[[int, int], int]) -> None:
        """Let `copy(file descriptor, offset)` put bytes straight into the file; it returns how many it put."""
        room.admit(0, self._share)
        copied = copy(self._opened().fileno(), self.length)
        room.take(copied)
        self.length += copied

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - closed by close()
            try:
                _write(file, self._memory, 0)
            except OSError:
                file.close()
                raise
            self._file = file
            room.take(len(self._memory))
            self._forget_memory()
        return self._file

    def send_to(self, sink: Sink, offset: int) -> int:
        """Send what the outlet takes at once from `offset` on; 0 if it takes nothing. Raises `OSError`."""
        if self._file is None:
            return sink.send(memoryview(self._memory)[offset:])
        return send_file(sink, self._file.fileno(), offset, self.length - offset)

    def in_memory(self) -> bytes:
        """Everything, if none of it is in a file; else nothing."""
        return bytes(self._memory)

    def pieces(self) -> Iterator[bytes]:
        """Everything, piece by piece. Raises `OSError`."""
        if self._file is None:
            yield bytes(self._memory)
            return
        offset = 0
        while offset < self.length:
            data = os.pread(self._file.fileno(), min(_READ_SIZE, self.length - offset), offset)
            if not data:
                raise OSError(errno.EIO, "the file became shorter while it was read")
            offset += len(data)
            yield data

    def clear(self) -> None:
        """Forget everything, as after the last byte was sent; the file is kept for more."""
        self._forget_memory()
        if self._file is not None:
            os.ftruncate(self._file.fileno(), 0)
            room.take(-self.length)
        self.length = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            room.take(-self.length)
        self._forget_memory()

    def _forget_memory(self) -> None:
        room.in_memory -= len(self._memory)
        self._memory = bytearray()


def send_file(sink: Sink, file: int, offset: int, length: int) -> int:
    """Send from a file what the outlet takes at once; 0 if it takes nothing. Raises `OSError`."""
    descriptor = sink.descriptor
    if descriptor is None:
        data = os.pread(file, min(length, _READ_SIZE), offset)
        if data:
            return sink.send(data)
        raise OSError(errno.EIO, "the file became shorter while it was sent")
    try:
        moved = os.sendfile(descriptor, file, offset, min(length, _SEND_SIZE))
    except BlockingIOError:
        return 0
    if not moved:
        raise OSError(errno.EIO, "the file became shorter while it was sent")
    return moved


def _write(file: IO[bytes], data: bytes | bytearray | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file.fileno(), view, offset)
        view = view[written:]
        offset += written
