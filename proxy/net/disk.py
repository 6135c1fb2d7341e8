"""Keeping the event loop away from a slow disk.

Reading a file blocks while the disk is busy, whatever flags it was opened with, and with it every connection of the
worker. So before a part of a file is sent, the kernel is asked whether it has that part in memory; if not, a thread
reads it, and the loop goes on meanwhile.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import gevent

from proxy import errors
from proxy.errors import ExchangeError, blaming

Found = TypeVar("Found")

PATIENCE = 30.0
"""Seconds that a disk may take."""

WINDOW = 256 << 10
"""Bytes that are looked at, and read, at a time."""

_WITHOUT_WAITING = getattr(os, "RWF_NOWAIT", 0)


def warm_up(file: int, offset: int, length: int) -> None:
    """Return when that part of a file (at most `WINDOW` bytes) can be read without waiting, as far as can be known."""
    if not _cached(file, offset) or not _cached(file, offset + length - 1):
        in_thread(lambda: _read(file, offset, length))


def in_thread(run: Callable[[], Found], unclaimed: Callable[[Found], object] | None = None) -> Found:
    """What `run`, which may block, gives. If the caller no longer waits for it, that goes to `unclaimed`.

    Raises what `run` raises, and `ExchangeError` when the disk does not answer.
    """
    result = None
    try:
        with gevent.Timeout(PATIENCE, ExchangeError(errors.FILE_FAILED, "the disk does not answer")):
            result = gevent.get_hub().threadpool.spawn(run)
            found: Found = result.get()
            return found
    except BaseException:
        if result is not None and unclaimed is not None:
            result.rawlink(lambda ended: unclaimed(ended.value) if ended.successful() else None)
        raise


def read_file_part(file: int, offset: int, length: int) -> Iterator[bytes]:
    """Part of a file, piece by piece, each read by a thread. Raises `ExchangeError` when the file does not have it."""
    end = offset + length
    while offset < end:
        with blaming(errors.FILE_FAILED):
            piece = in_thread(partial(os.pread, file, min(WINDOW, end - offset), offset))
        if not piece:
            raise ExchangeError(errors.FILE_FAILED, "it has become shorter")
        yield piece
        offset += len(piece)


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
        pass  # sending it will meet the same error, and report it
