"""Marks of change that the workers of all gateways at one directory share: has the index changed since it was read?

A worker may use what it has read from the index for as long as the mark of its resource stays the same. A change gives
the mark a value that it never had, once the change can be read: what was read before is used no more from then on. No
lock is needed for that, as it would be to count.
"""

import mmap
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_COUNT: Final = 4096
"""Marks: resources that share one are only read again more often."""
_SIZE: Final = _COUNT * 8


class Stamps:
    """Those of one cache's directory. Where they cannot be shared there are none: `words` is None."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "stamps"
        self._file: tuple[int, int] | None = None
        self.words: memoryview | None = None

    def check(self) -> None:
        """See to it that the marks are those that the other workers have: their file may have been removed."""
        try:
            facts = self._path.stat()
            if self._file == (facts.st_dev, facts.st_ino):
                return
        except OSError:
            pass
        self._map()

    def change(self, resources: Iterable[bytes]) -> None:
        """Something about these resources has changed, and can be read in the index."""
        self.check()
        words = self.words
        if words is not None:
            for resource in resources:
                words[place(resource)] = secrets.randbits(64)

    def change_all(self) -> None:
        """What is known of any resource may be wrong."""
        self.check()
        if self.words is not None:
            self.words[:] = memoryview(os.urandom(_SIZE)).cast("Q")

    def _map(self) -> None:
        self.words = self._file = None
        try:
            file = _opened(self._path)
        except OSError:
            return
        try:
            facts = os.fstat(file)
            self.words = memoryview(mmap.mmap(file, _SIZE)).cast("Q")
            self._file = facts.st_dev, facts.st_ino
        except (OSError, ValueError):  # it is shorter: a page that it does not have would end the process
            with suppress(OSError):
                self._path.unlink()
        finally:
            os.close(file)


def place(resource: bytes) -> int:
    """The index of the mark of a resource, by its key."""
    return int.from_bytes(resource[:2], "big") % _COUNT


def _opened(path: Path) -> int:
    """The file, made if need be: it appears under its name when it has its size, whose room on the disk is taken."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        pass
    temporary = path.with_name(f"stamps.{secrets.token_hex(8)}")
    file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.write(file, bytes(_SIZE)) == _SIZE:
            os.link(temporary, path)
    except FileExistsError:
        pass  # another worker was faster
    finally:
        os.close(file)
        temporary.unlink(missing_ok=True)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
