"""Removing files in a thread: a disk takes its time for each, and a purge may mean a hundred thousand.

The event loop goes on meanwhile. One thread at a time is at it, so a disk that hangs never holds more than one.
"""

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import gevent

_AT_ONCE: Final = 256
"""Files that a thread removes before the loop hears of it."""
_MOST_WAITING: Final = 100_000
"""Files that wait to be removed; more are left to the sweep of the next start."""


class Removal:
    """The files that one worker removes from one directory."""

    def __init__(self) -> None:
        self._waiting: deque[Path] = deque()
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def add(self, files: Iterable[Path]) -> None:
        """Have files removed, in this order. Waits for nothing; what cannot be removed stays."""
        self._waiting.extend(files)
        while len(self._waiting) > _MOST_WAITING:
            self._waiting.pop()
        if self._waiting and self._greenlet is None:
            self._greenlet = gevent.spawn(self._work)

    def wait(self, seconds: float) -> None:
        """Return when all are removed, or after so long."""
        greenlet = self._greenlet
        if greenlet is not None:
            greenlet.join(seconds)

    def _work(self) -> None:
        try:
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                gevent.get_hub().threadpool.apply(_remove, (some,))
        finally:
            self._greenlet = None


def _remove(files: list[Path]) -> None:
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError:
            pass  # it is found when the directory is swept
