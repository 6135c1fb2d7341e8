"""One line for each request, never at the expense of a request.

`record` appends a tuple to a bounded list: that is all a request pays. One greenlet turns entries into text and hands
the text to a thread, because any file may block: a pipe without a reader, a stalled disk. What cannot be written (the
list is full, the disk is full) is lost and counted.
"""

import os
from collections.abc import Callable, Sequence

import gevent
from gevent.event import AsyncResult
from gevent.lock import Semaphore
from gevent.threadpool import ThreadPool

from proxy.net.event_loop import give_way
from proxy.observe.destination import Destination
from proxy.observe.log_formats import Combined, Entry, EntryFields, Json

CAPACITY = 16384  # entries: some megabytes, or a second at full load
PERIOD = 0.25  # seconds between two rounds of writing
STRETCH = 128  # entries formatted at a stretch: well under a millisecond
_CLOSE_PATIENCE = 1.0  # seconds that a worker's exit waits for a stalled log


class AccessLog:
    """The log of one worker, made after the fork; spawn `run` in a greenlet."""

    def __init__(
        self,
        file: int | None,
        log_format: str,
        lost: Callable[[int], None],
        watch: Callable[[Sequence[Entry | EntryFields]], object] = len,
    ) -> None:
        """`file` is open for appending, and duplicated; without one no lines are written. `lost` receives the number
        of lost lines; `watch` sees all entries."""
        self._lost = lost
        self._watch = watch
        self._entries: list[Entry | EntryFields] = []
        self._pool = ThreadPool(1)
        self._turn = Semaphore()
        self._in_thread: tuple[AsyncResult, int] | None = None
        self._retired: list[Destination] = []
        self._destination: Destination | None = None
        self.change(file, log_format)

    def record(self, entry: Entry | EntryFields) -> None:
        """Record a finished exchange; it is written at most a second later."""
        entries = self._entries
        if len(entries) < CAPACITY:
            entries.append(entry)
        else:
            self._lost(1)

    def run(self) -> None:
        """Write until killed."""
        while True:
            gevent.sleep(PERIOD)
            if self._entries or self._retired:
                self.flush()

    def flush(self) -> None:
        """Write what was recorded so far; waits, so never called by a request."""
        with self._turn:
            self._finish_write()
            while self._retired:
                self._retired.pop().close()
            destination = self._destination
            entries, self._entries = self._entries, []
            if destination is not None and entries:
                try:
                    text = self._format(entries)
                except BaseException:
                    self._entries[:0] = entries  # killed: the next round, or the close, writes them
                    raise
                self._in_thread = self._pool.spawn(destination.write, text), len(entries)
                self._finish_write()

    def _finish_write(self) -> None:
        """Wait for the thread. If this greenlet is killed meanwhile, the next round waits."""
        if self._in_thread is not None:
            lost = self._in_thread[0].get()
            self._in_thread = None
            if lost:
                self._lost(lost)

    def _format(self, entries: list[Entry | EntryFields]) -> bytes:
        line = self._line
        parts = []
        for start in range(0, len(entries), STRETCH):
            chunk = entries[start : start + STRETCH]
            self._watch(chunk)
            parts.append("".join([line(entry) for entry in chunk]))
            give_way()
        return "".join(parts).encode("ascii", "backslashreplace")

    def change(self, file: int | None, log_format: str) -> None:
        """Write to another file or in another format from now on; waits for nothing.

        Raises OSError when there is no descriptor left to copy the file's; then nothing changes.
        """
        fresh = None if file is None else Destination(os.dup(file))
        if self._destination is not None:
            self._retired.append(self._destination)  # the thread may be writing to it
        self._destination = fresh
        self.enabled = fresh is not None
        self._line: Callable[[Entry | EntryFields], str] = Json().line if log_format == "json" else Combined().line

    def close(self) -> None:
        """Write what is left, unless the file is stalled; the rest counts as lost."""
        timeout = gevent.Timeout.start_new(_CLOSE_PATIENCE)
        try:
            self.flush()
        except gevent.Timeout as passed:
            if passed is not timeout:
                raise
            self._lost(len(self._entries) + (self._in_thread[1] if self._in_thread else 0))
        finally:
            timeout.close()
