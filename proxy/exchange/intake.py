"""The body of a response as it comes from the upstream, made ready for the client: received, decoded, encoded anew.

What goes wrong on this side never takes away what came before: it is kept as the intake's `fault` until everything that
is good was passed on.
"""

from collections.abc import Callable
from time import monotonic

from proxy import errors
from proxy.errors import DeadlinePassed, ExchangeError, Failure, FramingError
from proxy.exchange.caching import Copy
from proxy.exchange.recoding import Recoding
from proxy.net.sockets import RECEIVE_SIZE
from proxy.net.splice import WORTHWHILE, Pipe
from proxy.net.spool import Spool
from proxy.net.stream import Stream
from proxy.net.watermark import LowWater
from proxy.upstream.faults import StreamFault
from proxy.upstream.upload import Upload
from proxy.wire.body import RESPONSE_SIZE, ChunkedDecoder, ClosedDecoder, Decoder, SizedDecoder
from proxy.wire.response import ResponseHead, response_trailers


def body_decoder(response: ResponseHead) -> Decoder:
    """What finds the end of the body that follows this head (RFC 9112 section 6.3)."""
    if response.chunked:
        return ChunkedDecoder(RESPONSE_SIZE)
    if response.content_length is not None:
        return SizedDecoder(response.content_length)
    return ClosedDecoder()


class Intake:
    """A body on its way from `source`. `timeout` is the longest silence in it, in seconds.

    `taken` is called once, when the last byte has left the upstream, with whether nothing follows the body: the
    connection is then free for others, even if the client still has most of the body to read. An `upload` that still
    goes on learns that the response moves.
    """

    __slots__ = (
        "_buffer",
        "_copy",
        "_decoder",
        "_heard_at",
        "_nominated",
        "_recoding",
        "_sized",
        "_taken",
        "_timeout",
        "_upload",
        "fault",
        "source",
        "trailers",
    )

    def __init__(
        self,
        source: Stream,
        decoder: Decoder,
        timeout: float,
        *,
        buffer: memoryview | None = None,
        nominated: frozenset[bytes] = frozenset(),
        recoding: Recoding | None = None,
        upload: Upload | None = None,
        taken: Callable[[bool], None] | None = None,
        copy: Copy | None = None,
    ) -> None:
        """Bytes of a body of known length are received into `buffer`, if one is given, and sent from there. One with a
        `copy` passes through Python.

        `nominated` are the trailers that end here because the head's Connection field names them.
        """
        self.source = source
        self._decoder = decoder
        self._sized = decoder if isinstance(decoder, SizedDecoder) and recoding is None else None
        self._timeout = timeout
        self._buffer = buffer if copy is None else None
        self._copy = copy
        self._nominated = nominated
        self._recoding = recoding
        self._upload = upload
        self._taken = taken
        self._heard_at = 0.0
        self.fault: tuple[Failure, str] | None = None
        """Why the body ended before its end, and the fact at hand. No exception: its traceback would lead back here and
        keep the connection in memory until a collection."""
        self.trailers: list[bytes] = []
        """Those that may go on, once it is done."""

    @property
    def upload(self) -> Upload | None:
        """The rest of the request, if it is sent while the response is relayed."""
        return self._upload

    @property
    def recodes(self) -> bool:
        """Whether the body gets a content coding on the way."""
        return self._recoding is not None

    @property
    def done(self) -> bool:
        """Whether nothing more comes."""
        return self._decoder.done or self.fault is not None

    @property
    def clean(self) -> bool:
        """Whether nothing follows the body."""
        return not self._decoder.rest

    def check(self) -> None:
        """Raises `ExchangeError` if the body ended before its end."""
        if self.fault is not None:
            raise ExchangeError(*self.fault)

    # Receiving.

    def begin(self, data: bytes) -> bytes:
        """What the bytes that came with the head are to the client."""
        return self._convert(data)

    def listen(self) -> float:
        """From now on the upstream's silence counts; until when (monotonic seconds)."""
        self._heard_at = now = monotonic()
        return now + self._timeout if self._upload is None else self.deadline

    @property
    def deadline(self) -> float:
        """Until when something must come (monotonic seconds): an upstream that still reads may be silent meanwhile."""
        upload = self._upload
        if upload is None:
            return self._heard_at + self._timeout
        return max(self._heard_at, upload.quiet_since) + self._timeout

    def late(self) -> None:
        """A deadline has passed: the body breaks off, if it was this one."""
        if self.deadline <= monotonic():
            self._break_off(errors.BODY_STALLED, "")

    def receive(self) -> bytes | memoryview:
        """Wait for more, and take it: b"" if it is not ready for the client yet, or where the body ends."""
        deadline = self.listen()
        while True:
            try:
                self.source.wait_readable(deadline)
            except DeadlinePassed:
                self.late()
                if self.fault is not None:
                    return self._finish()
                deadline = self.deadline
            else:
                return self.take()

    def take(self) -> bytes | memoryview:
        """What has been received by now; in the process' buffer it is valid until the next switch."""
        sized, buffer = self._sized, self._buffer
        try:
            if sized is not None and buffer is not None:
                count = self.source.sock.recv_into(buffer, min(sized.left, len(buffer)))
                data: bytes | memoryview = buffer[:count]
            else:
                data = self.source.sock.recv(RECEIVE_SIZE if sized is None else min(sized.left, RECEIVE_SIZE))
        except BlockingIOError:
            return b""
        except OSError as error:
            failure = error.failure if isinstance(error, StreamFault) else None
            self._break_off(failure or errors.TRUNCATED, error.strerror or "")
            return self._finish()
        if not data:
            return self._closed()
        self._heard_at = monotonic()
        if self._upload is not None:
            self._upload.heard_at = self._heard_at
        if isinstance(data, bytes):
            return self._convert(data)
        self._count(len(data))
        return data

    def _count(self, count: int) -> None:
        """Bytes of a body of known length have come, and go on as they are."""
        assert self._sized is not None
        self._sized.left -= count
        if not self._sized.left:
            self._end()

    def _convert(self, data: bytes) -> bytes:
        try:
            payload = self._decoder.feed(data)
        except FramingError as error:
            payload = self._decoder.salvaged
            self._break_off(errors.BAD_RESPONSE, str(error))
        if self._copy is not None and payload:
            self._copy.write(payload)
        if self._recoding is not None:
            payload = self._recoding.feed(payload)
        return payload + self._finish() if self.done else payload

    def _closed(self) -> bytes:
        """The upstream has ended the connection."""
        tls = self.source.tls
        try:
            self._decoder.close()
        except FramingError as error:
            self._break_off(errors.TRUNCATED, str(error))
        else:
            if tls is not None and not tls.notified:  # RFC 9112 section 9.8
                self._break_off(errors.TRUNCATED, "the TLS connection ended without close_notify")
        return self._finish()

    def _break_off(self, failure: Failure, detail: str) -> None:
        self.fault = failure, detail

    def _finish(self) -> bytes:
        """The last bytes that the client gets."""
        decoder = self._decoder
        if self.fault is None and isinstance(decoder, ChunkedDecoder):
            try:
                self.trailers = response_trailers(decoder.trailers, self._nominated)
            except ExchangeError as error:
                self._break_off(error.failure, error.detail)
        if self.fault is None:
            self._end()
        return b"" if self._recoding is None else self._recoding.finish(whole=self.fault is None)

    def _end(self) -> None:
        if self._copy is not None:
            self._copy.finish()
        taken, self._taken = self._taken, None
        if taken is not None:
            taken(self.clean)

    def store(self, rest: bytes, spool: Spool) -> bytes:
        """Put a whole body into a spool; `rest` came with its head. Raises `ExchangeError`.

        If the room on disk ends before the body does, the first bytes that did not fit are returned.
        """
        data: bytes | memoryview = self.begin(rest)
        while True:
            try:
                spool.append(data)
            except OSError:
                return bytes(data)
            if self.done:
                break
            data = self.receive()
        self.check()
        return b""

    # Past Python.

    @property
    def spliceable(self) -> bool:
        """Whether so much is left, and goes on as it is, that it should move inside the kernel."""
        if self._sized is None or self._copy is not None:
            return False
        return self._sized.left >= WORTHWHILE and self.source.descriptor is not None

    def mark(self) -> LowWater:
        """The upstream's low-water mark, for `fill`."""
        return LowWater(self.source)

    def fill(self, pipe: Pipe, mark: LowWater) -> None:
        """Wait for more of a body of known length and move it into the pipe."""
        assert self._sized is not None
        deadline = self.listen()
        try:
            mark.wait_readable(deadline)
            moved = pipe.fill(self.source.sock.fileno(), self._sized.left)
        except BlockingIOError:
            return
        except DeadlinePassed:
            self.late()
            return
        except OSError as error:
            self._break_off(errors.TRUNCATED, error.strerror or "")
            return
        if not moved:
            self._closed()
            return
        mark.passed(moved, self._sized.left - moved)
        if self._upload is not None:
            self._upload.heard_at = monotonic()
        self._count(moved)
