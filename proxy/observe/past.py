"""What the gateway remembers of the last hour, in memory that a successor's master copies.

An upgrade hands the successor a descriptor of it. Both gateways count for a while, so the memory is not shared: the
successor's history goes on from where the copy ended. It takes none of another layout, and believes nothing it reads.
"""

import fcntl
import mmap
import os
import weakref
from zlib import crc32

from proxy.observe.history import LAYOUT as HISTORY
from proxy.observe.history import History
from proxy.observe.marks import LAYOUT as MARKS
from proxy.observe.marks import Marks

_ABOVE = 400  # the least number of a descriptor that is handed over: listeners have the lowest
_SEALS = "F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_SEAL"
_LAYOUT = crc32(repr((1, HISTORY, MARKS)).encode())


class Past:
    """Made in the master before it forks."""

    def __init__(self, started: float, owners: int, handed_over: str = "") -> None:
        """`started`: when counting began (unix seconds); `owners`: of marks; `handed_over`: by the gateway before."""
        history = History.words()
        self._size = 8 * (history + Marks.words(owners))
        self._file = _sealed(self._size)
        if self._file >= 0:
            weakref.finalize(self, os.close, self._file)
        words = memoryview(mmap.mmap(self._file, self._size)).cast("q")
        self.history = History(started, words[:history])
        self.marks = Marks(owners, words[history:])
        before = _handed_over(handed_over, self._size)
        if before is not None:
            self.history.go_on(before[:history])
            self.marks.go_on(before[history:])

    def hand_over(self) -> str:
        """In the process that becomes the successor: what tells it where to find this; empty where it cannot."""
        if self._file < 0:
            return ""
        return f"{fcntl.fcntl(self._file, fcntl.F_DUPFD, _ABOVE)}:{self._size}:{_LAYOUT}"


def _handed_over(text: str, size: int) -> memoryview | None:
    """The memory of the gateway before, or None if it is of another layout or none."""
    file, _, rest = text.partition(":")
    if not file.isdecimal() or rest != f"{size}:{_LAYOUT}":
        return None
    try:
        sealed = fcntl.fcntl(int(file), fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
        if not sealed or os.fstat(int(file)).st_size != size:
            return None
        memory = mmap.mmap(int(file), size, prot=mmap.PROT_READ)
        os.close(int(file))
    except (OSError, OverflowError, AttributeError):
        return None
    return memoryview(memory).cast("q")


def _sealed(size: int) -> int:
    """Memory with a descriptor, of a size that no worker can change; -1 where the system has none."""
    if not hasattr(os, "memfd_create"):
        return -1
    file = os.memfd_create("aragora-proxy-past", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    for seal in _SEALS:
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, getattr(fcntl, seal))
    return file
