"""Reading whole files that settings name, with a bound on size and a deadline for pipes."""

import codecs
import errno
import os
import select
import stat
from pathlib import Path
from time import monotonic

from proxy.settings.values.places import open_to_read

_PATIENCE = 5.0
"""Seconds in which a pipe must have been written and closed."""

_PIECE = 65536


def read_file(path: Path, most: int) -> bytes:
    """The content of a file or pipe, without a byte order mark.

    Raises `ValueError` if it cannot be read or is larger than `most` bytes; the text does not repeat the path.
    """
    try:
        content = _read(path, most + 1)
    except OSError as problem:
        raise ValueError(f"cannot be read: {problem.strerror}") from None
    if len(content) > most:
        raise ValueError(f"larger than {most} bytes; is it the right file?")
    return content.removeprefix(codecs.BOM_UTF8)


def _read(path: Path, size: int) -> bytes:
    # Opening a pipe must not wait for its writer.
    descriptor = open_to_read(path)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(size) if stat.S_ISREG(os.fstat(descriptor).st_mode) else _read_pipe(descriptor, size)


def _read_pipe(descriptor: int, size: int) -> bytes:
    end = monotonic() + _PATIENCE
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    content = b""
    while len(content) < size:
        if not ready.poll(1000 * max(0.0, end - monotonic())):
            raise TimeoutError(errno.ETIMEDOUT, f"pipe not closed by its writer within {_PATIENCE:.0f} s")
        piece = os.read(descriptor, _PIECE)
        if not piece:
            break
        content += piece
    return content
