"""Moving a response body from the upstream to the client.

A body of known length goes straight through: received and sent, or spliced inside the kernel once it is long. The
kernel's socket buffers absorb short stalls. A client that has cost the upstream `PATIENCE` seconds of waiting in all is
slow; from then on the body is taken off the upstream as fast as it comes and kept in a spool, so that the
application's worker is free for others while the client takes its time. Bodies of unknown length are streams: they go
through at once, and a slow client holds them back.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from proxy import errors
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError, FramingError
from proxy.net import splice
from proxy.net.disk import WINDOW, warm_up
from proxy.net.splice import Pipe, Pipes
from proxy.net.spool import Spool, send_file
from proxy.net.stream import RECEIVE_SIZE, Outlet, Stream, wait_either
from proxy.net.watermark import LowWater
from proxy.wire.body import RESPONSE_SIZE, ChunkedDecoder
from proxy.wire.response import response_trailers

_NOTHING = memoryview(b"")
_DISK_ERRORS = {errno.EIO, errno.ENODATA}  # the latter where a page has been cut off under sendfile

PATIENCE = 0.5
"""Seconds that one client may hold up the upstream in all before its answer is spooled."""


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What bounds a relay: durations in seconds between two moves, sizes in bytes."""

    read_timeout: float
    write_timeout: float
    spool_memory: int
    spool_size: int
    spool_dir: str | None


class Sink(Protocol):
    """Where a streamed body goes: the client's side of an exchange."""

    def write(self, data: bytes) -> None:
        """Frame and send; waits for a slow client. Raises `ClientGone` or `ExchangeError`."""

    def end(self, trailers: list[bytes]) -> None:
        """The body is complete."""


def receive(source: Stream, timeout: float, size: int = RECEIVE_SIZE) -> bytes:
    """Bytes of a response body; b"" at EOF. Raises `ExchangeError` when they do not come."""
    try:
        return source.receive(monotonic() + timeout, size)
    except DeadlinePassed:
        raise ExchangeError(errors.BODY_STALLED) from None
    except OSError as error:
        raise ExchangeError(errors.TRUNCATED, error.strerror or "") from None


def relay_chunked(
    source: Stream, first: bytes, sink: Sink, limits: RelayLimits, nominated: frozenset[bytes] = frozenset()
) -> bytes:
    """Decode a chunked body into the sink; return what the upstream sent behind it (it should be nothing).

    `nominated` are the trailers that end here because the head's Connection field names them.
    """
    decoder = ChunkedDecoder(RESPONSE_SIZE)
    data = first
    while True:
        try:
            payload = decoder.feed(data)
        except FramingError as error:
            raise ExchangeError(errors.BAD_RESPONSE, str(error)) from None
        if payload:
            sink.write(payload)
        if decoder.done:
            break
        data = receive(source, limits.read_timeout)
        if not data:
            raise ExchangeError(errors.TRUNCATED, "in a chunked body")
    sink.end(response_trailers(decoder.trailers, nominated))
    return decoder.rest


def relay_until_close(source: Stream, first: bytes, sink: Sink, limits: RelayLimits) -> None:
    """Stream until the upstream closes, which is the only end such a body has."""
    data = first
    while True:
        if data:
            sink.write(data)
        data = receive(source, limits.read_timeout)
        if not data:
            sink.end([])
            return


def relay_counted(source: Stream, first: bytes, length: int, sink: Sink, limits: RelayLimits) -> bytes:
    """A body of known length into the sink; return what the upstream sent behind it (it should be nothing)."""
    data = first
    while True:
        if data:
            sink.write(data[:length])
        behind = data[length:]
        length -= len(data) - len(behind)
        if not length:
            sink.end([])
            return behind
        data = receive(source, limits.read_timeout, min(length, RECEIVE_SIZE))
        if not data:
            raise ExchangeError(errors.TRUNCATED, f"{length} bytes short")


def send_rest(target: Outlet, rest: bytes, timeout: float) -> None:
    """Send what a client did not take at once; `timeout` is the longest time without progress.

    Raises `ExchangeError` or `ClientGone`.
    """
    view = memoryview(rest)
    try:
        while view:
            target.wait_writable(monotonic() + timeout)
            view = view[target.send(view) :]
    except DeadlinePassed:
        raise ExchangeError(errors.CLIENT_STALLED) from None
    except OSError as error:
        raise ClientGone from error


def send_file_part(target: Outlet, file: int, offset: int, length: int, timeout: float) -> int:
    """Send part of an open file, at the client's pace; return `length`. Arguments and errors as for `send_rest`."""
    end = offset + length
    warm = offset
    try:
        while offset < end:
            if offset == warm:
                warm = min(end, offset + WINDOW)
                warm_up(file, offset, warm - offset)
            sent = send_file(target, file, offset, warm - offset)
            offset += sent
            if not sent:
                if os.fstat(file).st_size <= offset:
                    raise ExchangeError(errors.FILE_FAILED, "it has become shorter")
                target.wait_writable(monotonic() + timeout)
    except DeadlinePassed:
        raise ExchangeError(errors.CLIENT_STALLED) from None
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise ExchangeError(errors.FILE_FAILED, error.strerror or "") from None
        raise ClientGone from error
    return length


def send_spool(target: Outlet, spool: Spool, timeout: float) -> int:
    """Send what a spool has in its file, at the client's pace; return how much. Arguments and errors as above."""
    offset = len(spool.in_memory())
    begin = offset
    try:
        while offset < spool.length:
            sent = spool.send_to(target, offset)
            offset += sent
            if not sent:
                target.wait_writable(monotonic() + timeout)
    except DeadlinePassed:
        raise ExchangeError(errors.CLIENT_STALLED) from None
    except OSError as error:
        raise ClientGone from error
    return offset - begin


class SizedRelay:
    """A body of known length on its way from `source` to `target`.

    `taken` is called once, when the last byte has left the upstream: its connection is then free for others, even
    if the client still has most of the body to read. `spools` False keeps the body out of files: a slow client then
    holds the upstream back.
    """

    def __init__(
        self,
        source: Stream,
        target: Outlet,
        left: int,
        pipes: Pipes,
        buffer: memoryview,
        limits: RelayLimits,
        taken: Callable[[], None],
        *,
        spools: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._left = left  # bytes the upstream still has to give
        self._pipes = pipes
        self._buffer = buffer
        self._limits = limits
        self._taken = taken
        self._spools = spools and limits.spool_size > 0
        self._splices = splice.AVAILABLE and target.descriptor is not None
        self._waited = 0.0
        self.sent = 0

    def run(self, pending: bytes) -> None:
        """Send `pending` (bytes of the body that came with its head and did not fit) and the rest of the body.

        Raises `ExchangeError` or `ClientGone`; the client then has less than the length it was told.
        """
        rest: memoryview | Pipe | None = memoryview(pending)
        try:
            while rest is not None:
                rest = self._splice_through(rest) if isinstance(rest, Pipe) else self._pass_through(rest)
                if rest is not None:
                    rest = self._spool(rest)
        except OSError as error:
            raise ClientGone from error

    def _pass_through(self, rest: memoryview) -> memoryview | Pipe | None:
        """Relay while the client keeps up. What it did not take is returned when it turns out to be slow."""
        while True:
            while rest:
                if not self._client_ready():
                    return rest
                rest = rest[self._sent(self._target.send(rest)) :]
            if not self._left:
                return None
            if self._left >= splice.WORTHWHILE and self._splices:
                pipe = self._take_pipe()
                if pipe is not None:
                    return self._splice_through(pipe)
            # Received into the process' one buffer and sent from it before anything else can run.
            data = self._receive()
            sent = self._sent(self._target.send(data))
            rest = memoryview(bytes(data[sent:])) if sent < len(data) else _NOTHING

    def _take_pipe(self) -> Pipe | None:
        """None when no descriptor is left: the same bytes go through Python then."""
        try:
            return self._pipes.take()
        except OSError:
            self._splices = False
            return None

    def _splice_through(self, pipe: Pipe) -> Pipe | None:
        """As `_pass_through`, inside the kernel; the pipe comes back with what the slow client did not take."""
        slow = False
        descriptor = self._target.descriptor
        assert descriptor is not None
        mark = LowWater(self._source)
        try:
            while self._left or pipe.held:
                if not pipe.held:
                    self._fill(pipe, mark)
                self._sent(pipe.drain(descriptor))
                if pipe.held and not self._client_ready():
                    slow = True
                    return pipe
        finally:
            mark.close()
            if not slow:
                self._pipes.give_back(pipe)
        return None

    def _fill(self, pipe: Pipe, mark: LowWater) -> None:
        """Wait for the upstream and take what it has."""
        try:
            mark.wait_readable(monotonic() + self._limits.read_timeout)
            moved = pipe.fill(self._source.sock.fileno(), self._left)
        except DeadlinePassed:
            raise ExchangeError(errors.BODY_STALLED) from None
        except BlockingIOError:
            return
        except OSError as error:
            raise ExchangeError(errors.TRUNCATED, error.strerror or "") from None
        if not moved:
            raise ExchangeError(errors.TRUNCATED, f"{self._left} bytes short")
        mark.passed(moved, self._left - moved)
        self._took(moved)

    def _client_ready(self) -> bool:
        """Wait until the client takes more; False when it has now used up the patience there is with it."""
        timeout = PATIENCE if self._spools and self._left else self._limits.write_timeout
        started = monotonic()
        try:
            self._target.wait_writable(started + timeout)
        except DeadlinePassed:
            if not self._spools or not self._left:
                raise ExchangeError(errors.CLIENT_STALLED) from None
        self._waited += monotonic() - started
        return not (self._spools and self._left and self._waited >= PATIENCE)

    def _spool(self, rest: memoryview | Pipe) -> memoryview | Pipe | None:
        """Take the rest of the body as it comes, send it as the client takes it.

        When the disk is full nothing is lost: what could not be stored is returned, to be passed through at the
        client's pace after all.
        """
        spool = Spool(self._limits.spool_memory, self._limits.spool_dir)
        try:
            if isinstance(rest, Pipe):
                return self._spool_pipe(spool, rest)
            unstored = self._store(spool, rest)
            return self._drain_spool(spool) if unstored is None else unstored
        finally:
            spool.close()

    def _spool_pipe(self, spool: Spool, pipe: Pipe) -> memoryview | Pipe | None:
        try:
            spool.append_from(pipe.drain_to_file)
        except OSError:
            pass  # no file could be made: everything is still in the pipe
        if pipe.held:
            self._spools = False
        try:
            unstored = self._drain_spool(spool)
        except BaseException:
            pipe.close()
            raise
        if pipe.held:
            return pipe
        self._pipes.give_back(pipe)
        return unstored

    def _drain_spool(self, spool: Spool) -> memoryview | None:
        """Fill and empty the spool at the two sides' own speeds; return what did not fit on the disk."""
        limits = self._limits
        unstored: memoryview | None = None
        offset = 0
        heard = read = monotonic()
        while offset < spool.length or (self._left and self._spools):
            room = self._left and self._spools and spool.length < limits.spool_size
            try:
                if offset == spool.length:
                    # Nothing to send: a client that takes all it gets would be ready all the time.
                    self._source.wait_readable(read + limits.read_timeout)
                    heard = monotonic()
                elif room:
                    deadline = min(heard + limits.write_timeout, read + limits.read_timeout)
                    wait_either(self._source, self._target, deadline)
                else:
                    self._target.wait_writable(heard + limits.write_timeout)
            except DeadlinePassed:
                late_client = offset < spool.length and (not room or monotonic() >= heard + limits.write_timeout)
                raise ExchangeError(errors.CLIENT_STALLED if late_client else errors.BODY_STALLED) from None
            if room:
                data = self._available()
                if data:
                    read = monotonic()
                    unstored = self._store(spool, data)
            moved = spool.send_to(self._target, offset) if offset < spool.length else 0
            if moved:
                heard = monotonic()
                offset += self._sent(moved)
            if offset == spool.length:
                spool.clear()
                offset = 0
                heard = monotonic()
        return unstored

    def _available(self) -> bytes:
        """What the upstream has at this moment, perhaps nothing."""
        try:
            data = self._source.sock.recv(min(self._left, RECEIVE_SIZE))
        except BlockingIOError:
            return b""
        except OSError as error:
            raise ExchangeError(errors.TRUNCATED, error.strerror or "") from None
        if not data:
            raise ExchangeError(errors.TRUNCATED, f"{self._left} bytes short")
        self._took(len(data))
        return data

    def _store(self, spool: Spool, data: bytes | memoryview) -> memoryview | None:
        try:
            spool.append(data)
        except OSError:
            self._spools = False
            return memoryview(data)
        return None

    def _receive(self) -> memoryview:
        """Wait for bytes of the body; they stand in the process' buffer until the next switch."""
        while True:
            try:
                self._source.wait_readable(monotonic() + self._limits.read_timeout)
                count = self._source.sock.recv_into(self._buffer, min(self._left, len(self._buffer)))
            except BlockingIOError:
                continue
            except DeadlinePassed:
                raise ExchangeError(errors.BODY_STALLED) from None
            except OSError as error:
                raise ExchangeError(errors.TRUNCATED, error.strerror or "") from None
            if not count:
                raise ExchangeError(errors.TRUNCATED, f"{self._left} bytes short")
            self._took(count)
            return self._buffer[:count]

    def _took(self, count: int) -> None:
        self._left -= count
        if not self._left:
            self._taken()

    def _sent(self, count: int) -> int:
        self.sent += count
        return count
