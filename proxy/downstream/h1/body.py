"""The body of an HTTP/1 request: taken out of its framing, and spliced into a file where it is long."""

from collections.abc import Callable

from proxy import errors
from proxy.downstream.body import BodySource, BodyStream, Pace, check_length, collect, new_spool, store
from proxy.downstream.h1.reader import RequestReader
from proxy.errors import ClientGone, ExchangeError, FramingError, blaming
from proxy.exchange.request import Request
from proxy.net import splice
from proxy.net.sockets import RECEIVE_SIZE
from proxy.net.splice import Pipes
from proxy.net.spool import Spool
from proxy.net.stream import Stream
from proxy.settings import Settings
from proxy.wire.body import ChunkedDecoder
from proxy.wire.request import check_trailers


class IncomingBody(BodySource):
    """The body of one request: first what was read with its head, then what arrives."""

    __slots__ = ("_decoder", "_left", "_proceed", "_reader", "_request", "_stream")

    def __init__(self, stream: Stream, reader: RequestReader, request: Request, proceed: Callable[[], None]) -> None:
        self._stream = stream
        self._reader = reader
        self._request = request
        self._proceed = proceed
        length = request.fields.content_length
        self._decoder = ChunkedDecoder() if length is None else None
        self._left = length or 0  # bytes still to come, where their number was announced

    @property
    def complete(self) -> bool:
        """Whether all of it was taken."""
        return not self._left if self._decoder is None else self._decoder.done

    @property
    def ready(self) -> bool:
        return self.complete or bool(self._reader.buffer) or self._stream.buffered

    def take(self) -> bytes | None:
        while not self.complete:
            data = self._receive()
            if data is None:
                return None
            payload = self._sized(data) if self._decoder is None else self._decode(self._decoder, data)
            self._reader.unread = not self.complete
            if payload:
                return payload
        return b""

    def _receive(self) -> bytes | None:
        reader = self._reader
        data, reader.buffer = reader.buffer, b""
        if not data:
            size = RECEIVE_SIZE if self._decoder is not None else min(RECEIVE_SIZE, self._left)
            try:
                data = self._stream.sock.recv(size)
            except BlockingIOError:
                return None
            except OSError as error:
                raise ClientGone from error
            if not data:
                raise ClientGone
        self._request.received += len(data)
        return data

    def _sized(self, data: bytes) -> bytes:
        if len(data) > self._left:
            self._put_back(data[self._left :])
            data = data[: self._left]
        self._left -= len(data)
        return data

    def _decode(self, decoder: ChunkedDecoder, data: bytes) -> bytes:
        try:
            payload = decoder.feed(data)
        except FramingError as error:
            raise ExchangeError(errors.CHUNK, str(error)) from None
        if decoder.done:
            check_trailers(decoder.trailers)  # and drop them
            self._put_back(decoder.rest)
        return payload

    def _put_back(self, data: bytes) -> None:
        """What follows the body belongs to the next request."""
        self._reader.buffer = data
        self._request.received -= len(data)

    def wait(self, pace: Pace) -> None:
        with blaming(errors.CLIENT_CLOSED, pace.late):
            self._stream.wait_readable(pace.deadline())

    def watch(self, callback: Callable[[], object]) -> None:
        self._stream.watch_readable(callback)

    def unwatch(self) -> None:
        self._stream.watch_readable(self._stream.on_readable)

    def proceed(self) -> None:
        self._proceed()

    def read(self, settings: Settings, pipes: Pipes) -> None:
        """Set the request's body and its length: read to the end, or a stream where buffering is off.

        Raises `ExchangeError` or `ClientGone`.
        """
        request = self._request
        length = request.length = request.fields.content_length
        if length is not None:
            check_length(length, settings)
        expected = request.fields.expect and request.minor == 1 and not self._reader.buffer
        if not settings.request_buffering:
            request.body = BodyStream(self, settings, expects_continue=expected)
            return
        if expected:
            self._proceed()
        if length is not None and length > settings.body_memory and splice.AVAILABLE:
            descriptor = self._stream.descriptor
            if descriptor is not None:
                request.body = self._splice(descriptor, settings, pipes)
                return
        body = collect(self, settings)
        request.length = len(body) if isinstance(body, bytes) else body.length
        request.body = body or None

    def _splice(self, descriptor: int, settings: Settings, pipes: Pipes) -> Spool:
        """The whole body, in a file: what was read with its head, and the rest past Python."""
        pace = Pace(settings)
        spool = new_spool(settings)
        try:
            data = self._receive() if self._reader.buffer else None
            if data:
                store(spool, self._sized(data))
            self._splice_rest(descriptor, spool, pace, pipes)
        except BaseException:
            spool.close()
            raise
        self._reader.unread = False
        return spool

    def _splice_rest(self, descriptor: int, spool: Spool, pace: Pace, pipes: Pipes) -> None:
        """Move what is still to come from the socket to the file inside the kernel."""
        with blaming(errors.OVERLOADED):
            pipe = pipes.take()
        try:
            while self._left:
                self.wait(pace)
                try:
                    with blaming(errors.CLIENT_CLOSED):
                        moved = pipe.fill(descriptor, self._left)
                except BlockingIOError:
                    continue
                if not moved:
                    raise ClientGone
                self._left -= moved
                self._request.received += moved
                pace.took(moved)
                with blaming(errors.SPOOL):
                    spool.append_from(pipe.drain_to_file)
                if pipe.held:
                    raise ExchangeError(errors.SPOOL, "the disk is full")
        finally:
            pipes.give_back(pipe)
