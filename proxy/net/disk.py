"""Keeping the event loop away from a slow disk.

Reading a file blocks while the disk is busy, whatever flags it was opened with, and with it every connection of the
worker. So before a part of a file is sent, the kernel is asked whether it has that part in memory; if not, a thread
reads it, and the loop goes on meanwhile.
"""

import os

import gevent

WINDOW = 256 << 10
"""Bytes that are looked at, and read, at a time."""

_WITHOUT_WAITING = getattr(os, "RWF_NOWAIT", 0)


def warm_up(file: int, offset: int, length: int) -> None:
    """Return when that part of a file (at most `WINDOW` bytes) can be read without waiting, as far as can be known."""
    if not _cached(file, offset) or not _cached(file, offset + length - 1):
        gevent.get_hub().threadpool.apply(_read, (file, offset, length))


def _cached(file: int, offset: int) -> bool:
    """Whether the page is in memory. File systems that cannot say so are taken for fast ones."""
    if not _WITHOUT_WAITING:
        return True
    try:
        os.preadv(file, [bytearray(1)], offset, _WITHOUT_WAITING)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _read(file: int, offset: int, length: int) -> None:
    try:
        os.pread(file, length, offset)
    except OSError:
        pass  # whoever sends it will meet the same error, and say so
