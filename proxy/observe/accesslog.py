"""One line for each request, never at the expense of a request.

`record` appends a tuple to a bounded list: that is all a request pays. One greenlet turns entries into text and hands
the text to a thread, because any file may block: a pipe whose reader stands still, a stalled disk. What cannot be
written (the list is full, the disk is full) is lost and counted.

Bytes that came from a client are escaped, so that no request can forge a line. The request target is logged as it was
received, query string included; Authorization and Cookie are never logged.
"""

import os
import time
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import AsyncResult
from gevent.lock import Semaphore
from gevent.threadpool import ThreadPool

from proxy.net.event_loop import give_way
from proxy.observe.destination import Destination
from proxy.wire.memo import BoundedMemo

CAPACITY = 16384  # entries: some megabytes, or a second at full load
PERIOD = 0.25  # seconds between two rounds of writing
STRETCH = 128  # entries formatted at a stretch: well under a millisecond
_CLOSE_PATIENCE = 1.0  # seconds that the exit of a worker may wait for a log that does not move
_VERSIONS = ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0")
_PLAIN = bytes(range(0x20, 0x7F)).replace(b'"', b"").replace(b"\\", b"")


ADMIN: Final = "admin"
"""Stands for the peer in the entries of requests to the admin address."""


class Entry(NamedTuple):
    """One finished exchange. Durations are seconds, -1.0 when that phase was not reached."""

    when: float  # unix time at which the request was read
    client: str
    method: bytes
    target: bytes
    version: int  # minor version of HTTP/1, or 2 for HTTP/2
    status: int
    sent: int  # bytes to the client
    received: int  # bytes from the client
    referer: bytes | None
    user_agent: bytes | None
    request_id: bytes  # made or checked by the gateway: letters, digits and ._:/+=@-
    upstream: str  # peer that responded, `ADMIN`, or empty
    queue: float
    connect: float
    first_byte: float
    total: float
    termination: str  # who ended it and in which phase: see proxy.errors
    reason: str  # of a failure, or empty
    trace: bytes  # id of the trace the request belongs to (32 hexadecimal digits), or empty


EntryFields = tuple[
    float,
    str,
    bytes,
    bytes,
    int,
    int,
    int,
    int,
    bytes | None,
    bytes | None,
    bytes,
    str,
    float,
    float,
    float,
    float,
    str,
    str,
    bytes,
]
"""An `Entry` without its names."""


def escape(value: bytes) -> str:
    """Printable ASCII without quotes or backslashes as it is, any other byte as \\xHH."""
    if not value.translate(None, _PLAIN):
        return value.decode("ascii")
    return "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in value)


def quote_json(value: bytes) -> str:
    """A JSON string in ASCII; bytes that are not UTF-8 become \\xHH."""
    return encode_basestring_ascii(value.decode("utf-8", "backslashreplace"))


class _Texts(BoundedMemo[Any, str]):
    """The text of each value."""

    def __init__(self, text: Callable[[Any], str], most: int = 1024) -> None:
        super().__init__(most)
        self._text = text

    def __missing__(self, value: Any) -> str:
        return self.remember(value, self._text(value))


# A line takes a seventh of what the gateway itself does for a small request: what few values make is made once, with
# the signs around it. Up to thirty pieces are joined on the stack, more as a list: 11,900 instructions against 15,000.
_numbers = _Texts(str, 4096)
_seconds = _Texts(lambda microseconds: f"{microseconds / 1e6:.6f}", 16384)


class _Clock:
    """Text of a second, made once in that second."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._second = -1
        self._text = ""

    def text(self, second: int) -> str:
        if second != self._second:
            self._second = second
            self._text = time.strftime(self._form, time.localtime(second))
        return self._text


class Combined:
    """Apache's combined format, then: request id, upstream, queue/connect/first byte/total in seconds, bytes
    received, who ended it and in which phase, reason, trace id."""

    def __init__(self) -> None:
        self._clock = _Clock(' - - [%d/%b/%Y:%H:%M:%S %z] "')
        self._requests = _Texts(lambda key: f'{escape(key[0])} {escape(key[1])} {_VERSIONS[key[2]]}" {key[3]} ')
        self._programs = _Texts(lambda key: "".join(f' "{"-" if value is None else escape(value)}"' for value in key))
        self._ends = _Texts(lambda key: f" {key[0]} {key[1] or '-'} ")

    def line(self, entry: Entry | EntryFields) -> str:
        (
            when,
            client,
            method,
            target,
            version,
            status,
            sent,
            received,
            referer,
            agent,
            request_id,
            upstream,
            queue,
            connect,
            first_byte,
            total,
            termination,
            reason,
            trace,
        ) = entry
        # Both are not reached on a connection that stands: the usual case.
        waits = f"{_duration(queue, '-')}/{_duration(connect, '-')}/" if queue >= 0 or connect >= 0 else "-/-/"
        return (
            f"{client or '-'}{self._clock.text(int(when))}{self._requests[method, target, version, status]}"
            f"{_numbers[sent]}{self._programs[referer, agent]} {request_id.decode()} {upstream or '-'} "
            f"{waits}{_seconds[int(first_byte * 1e6 + 0.5)] if first_byte >= 0 else '-'}/"
            f"{_seconds[int(total * 1e6 + 0.5)]} {_numbers[received]}{self._ends[termination, reason]}"
            f"{trace.decode() if trace else '-'}\n"
        )


class Json:
    """One JSON object a line. A phase that was not reached and an absent field are null."""

    def __init__(self) -> None:
        self._clock = _Clock('{"time":"%Y-%m-%dT%H:%M:%S.')
        self._zone = _Clock("%z")
        self._requests = _Texts(
            lambda key: (
                f'"method":{quote_json(key[0])},"target":{quote_json(key[1])},"protocol":"{_VERSIONS[key[2]]}",'
                f'"status":{key[3]},"sent":'
            )
        )
        self._programs = _Texts(
            lambda key: ",".join(
                f'"{name}":{"null" if value is None else quote_json(value)}'
                for name, value in zip(("referer", "user_agent"), key, strict=True)
            )
        )
        self._ends = _Texts(lambda key: f'"termination":"{key[0]}","reason":{_quoted(key[1])},"trace_id":')

    def line(self, entry: Entry | EntryFields) -> str:
        (
            when,
            client,
            method,
            target,
            version,
            status,
            sent,
            received,
            referer,
            agent,
            request_id,
            upstream,
            queue,
            connect,
            first_byte,
            total,
            termination,
            reason,
            trace,
        ) = entry
        second = int(when)
        zone = self._zone.text(second)
        asked = (
            f'{self._clock.text(second)}{int((when - second) * 1000):03d}{zone[:3]}:{zone[3:]}",'
            f'"client":"{client}",{self._requests[method, target, version, status]}{_numbers[sent]},'
            f'"received":{_numbers[received]},{self._programs[referer, agent]},'
            f'"request_id":"{request_id.decode()}",'
        )
        waits = f'"queue":{_duration(queue)},"connect":{_duration(connect)},'
        return (
            f'{asked}"upstream":{_quoted(upstream)},{waits}'
            f'"first_byte":{_duration(first_byte)},"total":{_duration(total)},'
            f"{self._ends[termination, reason]}{_quoted(trace.decode())}}}\n"
        )


def _quoted(text: str) -> str:
    return f'"{text}"' if text else "null"


def _duration(seconds: float, absent: str = "null") -> str:
    return _seconds[int(seconds * 1e6 + 0.5)] if seconds >= 0 else absent


class AccessLog:
    """The log of one worker, made after the fork; spawn `run` in a greenlet."""

    def __init__(
        self,
        file: int | None,
        log_format: str,
        lost: Callable[[int], None],
        watch: Callable[[Sequence[Entry | EntryFields]], object] = len,
    ) -> None:
        """`file` is open for appending, and copied; without one no lines are written. `lost` is told how many lines
        were lost; `watch` sees all entries."""
        self._lost = lost
        self._watch = watch
        self._entries: list[Entry | EntryFields] = []
        self._thread = ThreadPool(1)
        self._turn = Semaphore()
        self._in_thread: tuple[AsyncResult, int] | None = None
        self._retired: list[Destination] = []
        self._destination: Destination | None = None
        self.change(file, log_format)

    def record(self, entry: "Entry | EntryFields") -> None:
        """Take note of a finished exchange; written at most a second later."""
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
            self._settle()
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
                self._in_thread = self._thread.spawn(destination.write, text), len(entries)
                self._settle()

    def _settle(self) -> None:
        """Wait for the thread. Who is killed while waiting leaves the wait to the next round."""
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
        """Write what is left, unless the file does not move; the rest counts as lost."""
        timeout = gevent.Timeout.start_new(_CLOSE_PATIENCE)
        try:
            self.flush()
        except gevent.Timeout as passed:
            if passed is not timeout:
                raise
            self._lost(len(self._entries) + (self._in_thread[1] if self._in_thread else 0))
        finally:
            timeout.close()
