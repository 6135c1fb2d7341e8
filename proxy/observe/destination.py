"""Where log lines go: an open file, a pipe or a terminal. What cannot be written is lost and counted, never raised."""

import os
import select
import socket
import stat
from typing import Protocol

from proxy.observe.datagrams import Datagrams

_PIECE = 4096  # PIPE_BUF: writes to a pipe up to this size are not interleaved
_NEWLINE = 0x0A


class Log(Protocol):
    """Text in, number of lost lines out."""

    def write(self, text: bytes) -> int: ...

    def close(self) -> None: ...


def log_at(file: int) -> Log:
    """The log at an open descriptor, which is its own from now on; it waits as long as its reader or its disk does."""
    if stat.S_ISSOCK(os.fstat(file).st_mode):
        with socket.socket(fileno=os.dup(file)) as found:
            if found.type == socket.SOCK_DGRAM:
                return Datagrams(file)
    return Destination(file)


class Destination:
    """An open log that is appended to. Text in, number of lost lines out.

    With `waits`, a write blocks as long as the reader or the disk does. Without it, lines are lost while the reader of
    a pipe is stalled: an event loop must not wait for a log.
    """

    def __init__(self, file: int, *, waits: bool = True) -> None:
        """The descriptor is the destination's own from now on."""
        self._file = file
        self._regular = stat.S_ISREG(os.fstat(file).st_mode)
        self._waits = waits or self._regular
        self._torn = False

    def write(self, text: bytes) -> int:
        """Write whole lines. Returns the number of lost ones; raises nothing."""
        if self._torn:
            text = b"\n" + text
        written = 0
        try:
            while written < len(text):
                if not self._waits and not self._ready():
                    raise BlockingIOError
                end = self._end(text, written)
                written += os.write(self._file, text[written:end])
        except OSError:
            if written:
                self._torn = text[written - 1] != _NEWLINE
            return text.count(b"\n", max(written, self._torn))
        self._torn = False
        return 0

    def _ready(self) -> bool:
        """Whether a piece can be written without waiting."""
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        return bool(poll.poll(0))

    def _end(self, text: bytes, start: int) -> int:
        if self._regular or len(text) - start <= _PIECE:
            return len(text)
        if not self._waits:
            return start + _PIECE
        return text.rfind(b"\n", start, start + _PIECE) + 1 or text.index(b"\n", start) + 1

    def close(self) -> None:
        os.close(self._file)
