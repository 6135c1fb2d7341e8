"""One line for each request, never at the expense of a request.

`record` makes the line and appends it to a bounded list: that is all a request pays. One greenlet hands the lines to a
thread, because any file may block: a pipe without a reader, a stalled disk. What cannot be written (the list is full,
the disk is full) is lost and counted.
"""

import os
from collections.abc import Callable
from random import random
from typing import Final

import gevent
from gevent.event import AsyncResult
from gevent.lock import Semaphore
from gevent.threadpool import ThreadPool

from proxy.observe.destination import Log, log_at
from proxy.observe.log_formats import REASON, STATUS, TOTAL, Combined, EntryFields, LineFormat
from proxy.observe.recent import Recent

CAPACITY: Final = 16384  # lines: some megabytes, or half a second at full load
PERIOD: Final = 0.25  # seconds between two rounds of writing
STRETCH: Final = 512  # lines written at a stretch, for which the thread has the interpreter: 0.1 ms
_CLOSE_PATIENCE: Final = 1.0  # seconds that a worker's exit waits for a stalled log


class AccessLog:
    """The log of one worker, made after the fork; spawn `run` in a greenlet."""

    def __init__(
        self, file: int | None, line_format: LineFormat, lost: Callable[[int], None], recent: Recent | None = None
    ) -> None:
        """`file` is open for appending, and duplicated; without one no lines are written. `lost` receives the number
        of lost lines; `recent` the entries that are slow or failed."""
        self._lost: Final = lost
        self._recent: Final = Recent() if recent is None else recent
        self._lines: list[str] = []
        self._pool = ThreadPool(1)
        self._turn = Semaphore()
        self._in_thread: tuple[AsyncResult, int] | None = None
        self._retired: list[tuple[Log, list[str]]] = []
        """Destinations of the past, and what is still to be written to each."""
        self._destination: Log | None = None
        self._format: LineFormat = Combined()
        self.enabled = False
        self.change(file, line_format)

    def record(self, entry: EntryFields, share: float = 1.0) -> None:
        """Record a finished exchange; its line is written at most a second later.

        `share`: of the requests like it that have a line. Those that failed have one unless it is 0.
        """
        failed = entry[STATUS] >= 500 or entry[REASON] != ""
        if failed or entry[TOTAL] > self._recent.floor:
            self._recent.take(entry)
        if share < 1.0 and (share <= 0.0 or (not failed and random() >= share)):  # noqa: S311 - no secret
            return
        lines = self._lines
        if len(lines) < CAPACITY:
            lines.append(self._format.line(entry))
        else:
            self._lost(1)

    def run(self) -> None:
        """Write until killed."""
        while True:
            gevent.sleep(PERIOD)
            if self._lines or self._retired:
                self.flush()

    def flush(self) -> None:
        """Write what was recorded so far; waits, so never called by a request."""
        with self._turn:
            self._finish_write()
            while self._retired:
                destination, lines = self._retired[0]
                self._retired[0] = destination, []  # if this greenlet is killed meanwhile, the thread writes them
                self._write(destination, lines)
                del self._retired[0]
                destination.close()
            lines, self._lines = self._lines, []
            if self._destination is not None:
                self._write(self._destination, lines)

    def _write(self, destination: Log, lines: list[str]) -> None:
        if lines:
            self._in_thread = self._pool.spawn(_write_lines, destination, lines), len(lines)
            self._finish_write()

    def _finish_write(self) -> None:
        """Wait for the thread. If this greenlet is killed meanwhile, the next round waits."""
        if self._in_thread is not None:
            lost = self._in_thread[0].get()
            self._in_thread = None
            if lost:
                self._lost(lost)

    def change(self, file: int | None, line_format: LineFormat) -> None:
        """Write to another file or in another format from now on, lines recorded before not; waits for nothing.

        Raises OSError when there is no descriptor left to copy the file's; then nothing changes.
        """
        fresh = None if file is None else log_at(os.dup(file))
        if self._destination is not None:
            self._retire(self._destination, self._lines)
        self._lines = []
        self._destination = fresh
        self.enabled = fresh is not None
        self._format = line_format

    def _retire(self, destination: Log, lines: list[str]) -> None:
        """Close it later: the thread may be writing to it."""
        if self._unwritten() + len(lines) > CAPACITY:  # it is stalled, and so were those before it
            self._lost(len(lines))
            lines = []
        self._retired.append((destination, lines))

    def _unwritten(self) -> int:
        """Lines for destinations of the past."""
        return sum(len(lines) for _, lines in self._retired)

    def close(self) -> None:
        """Write what is left, unless the file is stalled; the rest counts as lost."""
        timeout = gevent.Timeout.start_new(_CLOSE_PATIENCE)
        try:
            self.flush()
        except gevent.Timeout as passed:
            if passed is not timeout:
                raise
            in_thread = self._in_thread[1] if self._in_thread else 0
            self._lost(len(self._lines) + self._unwritten() + in_thread)
        finally:
            timeout.close()


def _write_lines(destination: Log, lines: list[str]) -> int:
    """Write lines, in the thread; returns how many were lost."""
    lost = 0
    for start in range(0, len(lines), STRETCH):
        text = "".join(lines[start : start + STRETCH])
        lost += destination.write(text.encode("ascii", "backslashreplace"))
    return lost
