"""Reading request bodies: to their end before the upstream is asked, or as a stream."""

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from proxy import errors
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError, FramingError
from proxy.exchange.request import Request
from proxy.net import splice
from proxy.net.sockets import RECEIVE_SIZE
from proxy.net.spool import REQUESTS, Spool, room
from proxy.settings import Settings
from proxy.upstream.body import StreamedBody, stalled
from proxy.wire.body import ChunkedDecoder
from proxy.wire.request import check_trailers

if TYPE_CHECKING:
    from proxy.downstream.h1.reader import Reader

_RATE_GRACE = 10.0
"""Seconds before a body's average rate is judged."""


class Pace:
    """Whether a body that is read to its end comes fast enough: no long silence, and a least average rate.

    A body that is passed on as it comes has no such rate: nothing is kept for it, and its client may well be slow by
    nature.
    """

    def __init__(self, settings: Settings) -> None:
        self._started = monotonic()
        self._timeout = settings.body_timeout
        self._min_rate = settings.min_rate
        self._received = 0

    def deadline(self) -> float:
        return monotonic() + self._timeout

    def late(self) -> ExchangeError:
        """What it means that the deadline has passed."""
        return stalled(self._timeout)

    def took(self, count: int) -> None:
        self._received += count
        elapsed = monotonic() - self._started
        if elapsed > _RATE_GRACE and self._received < elapsed * self._min_rate:
            measure = f"{self._received} bytes in {elapsed:.0f} s"
            raise ExchangeError(errors.BODY_RATE, f"{measure}, under {self._min_rate} a second (min_rate)")


def _receive(connection: "Reader", pace: Pace, size: int = RECEIVE_SIZE) -> bytes:
    """Bytes of the body; what was read behind the head comes first. Raises `ExchangeError` or `ClientGone`."""
    data = connection.buffer
    if data:
        connection.buffer = b""
        return data
    try:
        data = connection.receive(pace.deadline(), size)
    except DeadlinePassed:
        raise pace.late() from None
    except OSError as error:
        raise ClientGone from error
    if not data:
        raise ClientGone
    pace.took(len(data))
    return data


def too_large(limit: int) -> ExchangeError:
    """The refusal of a body over `max_body`, which names the setting: its reader may be the operator."""
    return ExchangeError(errors.BODY_TOO_LARGE, f"over {limit} bytes, the gateway's max_body")


def check_length(length: int, settings: Settings) -> None:
    """Refuse a body of an announced length that cannot be taken, before any of it is. Raises `ExchangeError`."""
    if length > settings.max_body:
        raise too_large(settings.max_body)
    if settings.request_buffering and length > settings.body_memory:
        try:
            room.admit(length, REQUESTS)
        except OSError as error:
            raise ExchangeError(errors.SPOOL, error.strerror or "") from None


def new_spool(settings: Settings) -> Spool:
    """Where a body goes that is not, or may not be, small."""
    return Spool(settings.body_memory, str(settings.spool_dir) if settings.spool_dir else None, share=REQUESTS)


def store(spool: Spool, data: bytes) -> None:
    """Append to the spool. Raises `ExchangeError` when the disk is full."""
    try:
        spool.append(data)
    except OSError as error:
        raise ExchangeError(errors.SPOOL, error.strerror or "") from None


def read_sized_body(connection: "Reader", request: Request, length: int, settings: Settings) -> bytes | Spool:
    """A body of known length: bytes while it fits in memory, else a spool.

    The caller has seen that `connection.buffer` holds less than `length`.
    """
    pace = Pace(settings)
    if length <= settings.body_memory:
        pieces = []
        left = length
        while left:
            data = _receive(connection, pace, left)
            pieces.append(data)
            left -= len(data)
            request.received += len(data)
        return b"".join(pieces)
    spool = request.body = new_spool(settings)
    try:
        if connection.buffer:
            store(spool, _receive(connection, pace))
        if splice.AVAILABLE and connection.descriptor is not None:
            _splice_body(connection, spool, length, pace)
        else:
            while spool.length < length:
                store(spool, _receive(connection, pace, min(RECEIVE_SIZE, length - spool.length)))
    except BaseException:
        spool.close()
        raise
    finally:
        request.received += spool.length
    return spool


def _splice_body(connection: "Reader", spool: Spool, length: int, pace: Pace) -> None:
    """As many bytes as the body still has, from the socket to the file inside the kernel."""
    pipes = connection.front.context.pipes
    try:
        pipe = pipes.take()
    except OSError as error:
        raise ExchangeError(errors.OVERLOADED, error.strerror or "") from None
    try:
        while spool.length < length:
            try:
                connection.wait_readable(pace.deadline())
                moved = pipe.fill(connection.sock.fileno(), length - spool.length)
            except DeadlinePassed:
                raise pace.late() from None
            except BlockingIOError:
                continue
            except OSError as error:
                raise ClientGone from error
            if not moved:
                raise ClientGone
            pace.took(moved)
            try:
                spool.append_from(pipe.drain_to_file)
            except OSError as error:
                raise ExchangeError(errors.SPOOL, error.strerror or "") from None
            if pipe.held:
                raise ExchangeError(errors.SPOOL, "the disk is full")
    finally:
        pipes.give_back(pipe)


def read_chunked_body(connection: "Reader", request: Request, settings: Settings) -> bytes | Spool | None:
    """A chunked body, decoded; sets `request.length` to what it came to."""
    pace = Pace(settings)
    decoder = ChunkedDecoder()
    spool = request.body = new_spool(settings)
    try:
        while not decoder.done:
            data = _receive(connection, pace)
            request.received += len(data)
            store(spool, _decode(decoder, data))
            if spool.length > settings.max_body:
                raise too_large(settings.max_body)
        _finish(connection, decoder)
    except BaseException:
        spool.close()
        raise
    request.received -= len(decoder.rest)
    request.length = spool.length
    return spool if spool.length else None


def _decode(decoder: ChunkedDecoder, data: bytes) -> bytes:
    try:
        return decoder.feed(data)
    except FramingError as error:
        raise ExchangeError(errors.CHUNK, str(error)) from None


def _finish(connection: "Reader", decoder: ChunkedDecoder) -> None:
    """What follows the body is the next request's; the trailers are checked and dropped."""
    check_trailers(decoder.trailers)
    connection.buffer = decoder.rest


class BodyStream(StreamedBody):
    """A body passed on while it comes, where buffering is switched off."""

    def __init__(self, connection: "Reader", request: Request, settings: Settings) -> None:
        self._connection = connection
        self._request = request
        self.timeout = settings.body_timeout
        self._max_body = settings.max_body
        self._left = request.length
        self._decoder = ChunkedDecoder() if request.length is None else None
        self._total = 0
        self.done = False
        self.expects_continue = request.fields.expect and request.minor == 1 and not connection.buffer

    @property
    def ready(self) -> bool:
        return self.done or bool(self._connection.buffer) or self._connection.buffered

    def proceed(self) -> None:
        self._connection.proceed()

    def watch(self, callback: Callable[[], object]) -> None:
        self._connection.watch_readable(callback)

    def unwatch(self) -> None:
        self._connection.watch_readable(self._connection.on_readable)

    def take(self) -> bytes | None:
        while not self.done:
            try:
                data = self._take()
            except BlockingIOError:
                return None
            if data:
                return data
        return b""

    def _take(self) -> bytes:
        connection = self._connection
        try:
            data = connection.buffer or connection.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            raise
        except OSError as error:
            raise ClientGone from error
        if not data:
            raise ClientGone
        connection.buffer = b""
        self._request.received += len(data)
        if self._decoder is not None:
            data = self._take_chunked(self._decoder, data)
        else:
            data = self._take_sized(data)
        self._total += len(data)
        if self._total > self._max_body:
            raise too_large(self._max_body)
        return data

    def _take_chunked(self, decoder: ChunkedDecoder, data: bytes) -> bytes:
        payload = _decode(decoder, data)
        if decoder.done:
            self.done = True
            _finish(self._connection, decoder)
        return payload

    def _take_sized(self, data: bytes) -> bytes:
        assert self._left is not None
        if len(data) > self._left:
            self._connection.buffer = data[self._left :]
            data = data[: self._left]
        self._left -= len(data)
        self.done = not self._left
        return data
