"""A body kept until somebody takes it: in memory while small, in an unlinked temporary file beyond."""

import errno
import os
import tempfile
from collections.abc import Callable
from typing import IO

from proxy.net.stream import Outlet

_SEND_SIZE = 1 << 20
_READ_SIZE = 1 << 16


class Spool:
    """An append-only body that can be sent from any offset, as often as needed (a retry sends it again).

    Every method that writes raises `OSError` when the disk is full; what was appended before stays whole.
    """

    __slots__ = ("_directory", "_file", "_memory", "_memory_limit", "length")

    def __init__(self, memory_limit: int, directory: str | None) -> None:
        self._memory = bytearray()
        self._memory_limit = memory_limit
        self._directory = directory
        self._file: IO[bytes] | None = None
        self.length = 0

    def append(self, data: bytes | memoryview) -> None:
        if self._file is None and self.length + len(data) <= self._memory_limit:
            self._memory += data
        else:
            _write(self._opened(), data, self.length)
        self.length += len(data)

    def append_from(self, copy: Callable[[int, int], int]) -> None:
        """Let `copy(file descriptor, offset)` put bytes straight into the file; it returns how many it put."""
        self.length += copy(self._opened().fileno(), self.length)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - closed by close()
            try:
                _write(file, self._memory, 0)
            except OSError:
                file.close()
                raise
            self._file = file
            self._memory = bytearray()
        return self._file

    def send_to(self, outlet: Outlet, offset: int) -> int:
        """Send what the outlet takes at once from `offset` on; 0 if it takes nothing. Raises `OSError`."""
        if self._file is None:
            return outlet.send(memoryview(self._memory)[offset:])
        return send_file(outlet, self._file.fileno(), offset, self.length - offset)

    def in_memory(self) -> bytes:
        """Everything, if none of it is in a file; else nothing."""
        return bytes(self._memory)

    def clear(self) -> None:
        """Forget everything, as after the last byte was sent; the file is kept for more."""
        self._memory = bytearray()
        if self._file is not None:
            os.ftruncate(self._file.fileno(), 0)
        self.length = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._memory = bytearray()


def send_file(outlet: Outlet, file: int, offset: int, length: int) -> int:
    """Send from a file what the outlet takes at once; 0 if it takes nothing. Raises `OSError`."""
    descriptor = outlet.descriptor
    if descriptor is None:
        data = os.pread(file, min(length, _READ_SIZE), offset)
        if data:
            return outlet.send(data)
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
