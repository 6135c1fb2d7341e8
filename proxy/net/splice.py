"""Moving bytes between descriptors inside the kernel (Linux `splice`): they never enter Python.

Worth it from about 64 KiB on; a pipe costs two system calls to make, so emptied ones are kept. Where the platform has
no `os.splice` the callers use their plain loops.
"""

import os

try:
    import fcntl

    _SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)
except ImportError:  # pragma: no cover - POSIX has it
    _SET_PIPE_SIZE = None

AVAILABLE = hasattr(os, "splice")
WORTHWHILE = 65536
"""From this many bytes on a pipe pays for itself, measured on loopback."""

_PIPE_SIZE = 1 << 18
_MOST_KEPT = 32
_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)


class Pipe:
    """A kernel buffer; `held` bytes are in it."""

    __slots__ = ("_reading", "_writing", "held")

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.held = 0
        if _SET_PIPE_SIZE is not None:
            try:
                fcntl.fcntl(self._writing, _SET_PIPE_SIZE, _PIPE_SIZE)
            except OSError:
                pass  # the user's quota of pipe pages is used up; the default size works too

    def fill(self, source: int, most: int) -> int:
        """Take up to `most` bytes from the descriptor; 0 at EOF. Raises `BlockingIOError` or `OSError`."""
        moved = os.splice(source, self._writing, min(most, _PIPE_SIZE), flags=_FLAGS)
        self.held += moved
        return moved

    def drain(self, target: int) -> int:
        """Give what the descriptor takes at once; 0 if it is full. Raises `OSError`."""
        try:
            moved = os.splice(self._reading, target, self.held, flags=_FLAGS)
        except BlockingIOError:
            return 0
        self.held -= moved
        return moved

    def drain_to_file(self, target: int, offset: int) -> int:
        """Write what is held to a file from `offset` on; what a full disk does not take stays held."""
        total = 0
        while self.held:
            try:
                moved = os.splice(self._reading, target, self.held, offset_dst=offset + total, flags=_FLAGS)
            except OSError:
                break
            self.held -= moved
            total += moved
        return total

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)


class Pipes:
    """Empty pipes kept for the next body."""

    def __init__(self) -> None:
        self._kept: list[Pipe] = []

    def take(self) -> Pipe:
        """Raises `OSError` when descriptors have run out."""
        return self._kept.pop() if self._kept else Pipe()

    def give_back(self, pipe: Pipe) -> None:
        if pipe.held or len(self._kept) >= _MOST_KEPT:
            pipe.close()
        else:
            self._kept.append(pipe)

    def close(self) -> None:
        while self._kept:
            self._kept.pop().close()
