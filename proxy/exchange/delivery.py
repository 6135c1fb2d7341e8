"""Sending a body to a client at the client's pace, within bounds.

A client is too slow if it takes nothing for `timeout` seconds, or less than `rate` bytes a second in `timeout` seconds
of waiting for it. Only seconds count in which there are bytes and no room for them: a client that has taken everything
is not slow, nor is one whose own upload moves meanwhile.
"""

import os
from dataclasses import dataclass
from time import monotonic

from proxy import errors
from proxy.errors import DeadlinePassed, ExchangeError, blaming
from proxy.net.disk import WINDOW, warm_up
from proxy.net.event_loop import NEVER
from proxy.net.spool import Spool, send_file
from proxy.net.stream import Sink, Stream, wait_either
from proxy.upstream.upload import Upload


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """The least that a client must take: a byte in `timeout` seconds, `rate` bytes a second on average (0: any)."""

    timeout: float
    rate: int


class ReadPace:
    """Whether a client takes what waits for it fast enough.

    What it takes is what leaves the kernel's queue: a socket has room again only when a third of its queue has gone,
    which may be minutes' worth of a slow line.
    """

    __slots__ = ("_idle", "_limits", "_moved", "_moved_before", "_sink", "_spent", "_upload", "waited")

    def __init__(self, sink: Sink, limits: PaceLimits, upload: Upload | None = None) -> None:
        self._sink = sink
        self._limits = limits
        self._upload = upload
        self._moved = self._moved_before = 0  # bytes that came to the client or from it: by now, and a stretch ago
        self._idle = 0.0  # seconds it was waited for since the last byte
        self._spent = 0.0  # seconds in the present stretch of `timeout`
        self.waited = 0.0
        """Seconds of waiting for it in total, whatever the reason."""

    def wait(self, sent: int, until: float = NEVER, reading: Stream | None = None) -> None:
        """Return when the client takes more, `reading` can be read, or `until` has passed (monotonic seconds).

        `sent` is how many bytes it was sent so far. Raises `ExchangeError` (CLIENT_STALLED) if the client is too slow.
        """
        sink = self._sink
        own_fault = sink.starved
        if not self.waited:
            self._moved = self._moved_before = self._progress(sent)
        began = monotonic()
        deadline = min(until, began + self._limits.timeout - self._idle)
        try:
            if reading is None:
                sink.wait_writable(deadline)
            else:
                wait_either(reading, sink, deadline)
        except DeadlinePassed:
            self._count(sent, began, own_fault=own_fault)
            if self._idle >= self._limits.timeout:
                raise ExchangeError(errors.CLIENT_STALLED, f"nothing for {self._idle:.0f} s (write_timeout)") from None
        else:
            self._count(sent, began, own_fault=own_fault)

    def _progress(self, sent: int) -> int:
        return sent - self._sink.undelivered + (0 if self._upload is None else self._upload.moved)

    def _count(self, sent: int, began: float, *, own_fault: bool) -> None:
        """A wait has ended. Raises `ExchangeError` if the client took too little in this stretch of waiting."""
        spent = monotonic() - began
        self.waited += spent
        if not own_fault:
            return
        moved = self._progress(sent)
        self._idle = self._idle + spent if moved == self._moved else 0.0
        self._moved = moved
        self._spent += spent
        limits = self._limits
        if self._spent >= limits.timeout:
            taken = moved - self._moved_before
            if taken < self._spent * limits.rate:
                measure = f"{taken} bytes in {self._spent:.0f} s"
                raise ExchangeError(errors.CLIENT_STALLED, f"{measure}, under {limits.rate} a second (min_read_rate)")
            self._spent = 0.0
            self._moved_before = moved


def send_rest(target: Sink, rest: bytes, limits: PaceLimits) -> None:
    """Send what a client did not take at once. Raises `ExchangeError` or `ClientGone`."""
    pace = ReadPace(target, limits)
    view = memoryview(rest)
    with blaming(errors.CLIENT_CLOSED):
        while view:
            pace.wait(len(rest) - len(view))
            sent = target.send(view)
            view = view[sent:]


def send_file_part(target: Sink, file: int, offset: int, length: int, limits: PaceLimits) -> int:
    """Send part of an open file, at the client's pace; return `length`. Errors as for `send_rest`."""
    pace = ReadPace(target, limits)
    end = offset + length
    warm = offset
    with blaming(errors.CLIENT_CLOSED, disk=errors.FILE_FAILED):
        while offset < end:
            if offset == warm:
                warm = min(end, offset + WINDOW)
                warm_up(file, offset, warm - offset)
            sent = send_file(target, file, offset, warm - offset)
            offset += sent
            if not sent:
                if os.fstat(file).st_size <= offset:
                    raise ExchangeError(errors.FILE_FAILED, "it has become shorter")
                pace.wait(offset)
    return length


def send_spool(target: Sink, spool: Spool, limits: PaceLimits) -> int:
    """Send what a spool has in its file, at the client's pace; return how much. Errors as for `send_rest`."""
    pace = ReadPace(target, limits)
    begin = offset = len(spool.in_memory())
    with blaming(errors.CLIENT_CLOSED, disk=errors.SPOOL):
        while offset < spool.length:
            sent = spool.send_to(target, offset)
            offset += sent
            if not sent:
                pace.wait(offset)
    return offset - begin
