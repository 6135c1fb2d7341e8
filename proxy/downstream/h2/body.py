"""Request bodies that come on an HTTP/2 stream: read to their end, or passed on while they come."""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from greenlet import getcurrent

from proxy import errors
from proxy.downstream.body import Pace, check_length, new_spool, store, too_large
from proxy.downstream.h2.output import Output
from proxy.errors import ClientGone, Failure, blaming
from proxy.exchange.request import Request
from proxy.net.spool import Spool
from proxy.settings import Settings
from proxy.upstream.body import StreamedBody
from proxy.wire.h2.request import Malformed
from proxy.wire.h2.streams import Stream as WireStream

_COALESCED: Final = 1024
"""Bytes below which a piece of a body that waits to be read is joined with the next."""


class Arrival(Enum):
    """How far a body has come."""

    UNDER_WAY = auto()  # more may come
    COMPLETE = auto()  # END_STREAM has come, behind as much as was announced
    LOST = auto()  # the stream was reset, by either side, or the connection is gone: what has come is not the whole


class IncomingBody:
    """The body of one request, from the frames to whoever reads it. At most one greenlet does."""

    __slots__ = ("_came", "_failure", "_inbox", "_output", "_pause", "_request", "_tell", "_wire", "arrival")

    def __init__(self, request: Request, wire: WireStream, output: Output, pause: Callable[[float], None]) -> None:
        """`pause` leaves the greenlet until it is switched to, or raises `DeadlinePassed`."""
        self._request = request
        self._wire = wire
        self._output = output
        self._pause = pause
        self.arrival = Arrival.UNDER_WAY
        self._failure = errors.CLIENT_CLOSED
        """Why the body is not the whole, where it is `Arrival.LOST`."""
        self._came = 0  # bytes of the body, read or not
        self._inbox: deque[tuple[bytes, int]] = deque()  # what came of the body, and what it took of the window
        self._tell: Callable[[], object] | None = None

    # What comes.

    def take(self, data: bytes, size: int, *, ended: bool) -> None:
        """Bytes of the body have come, which took `size` of the window; it is given back when they are read.

        Raises `Malformed` if the body is not as long as its content-length (RFC 9113 section 8.1.1): it is compared
        here, where every body comes by, whatever ends it and whoever reads it, or not.
        """
        self._came += len(data)
        if data:
            inbox = self._inbox
            if inbox and len(inbox[-1][0]) < _COALESCED:
                # Frames of a byte each would take a hundred times what the window allows for.
                last, taken = inbox.pop()
                data, size = last + data, taken + size
            inbox.append((data, size))
        elif size:
            self._output.give_back(self._wire, size)  # nothing but padding
        length = self._request.fields.content_length
        if length is not None and (self._came > length or (ended and self._came < length)):
            raise Malformed("another body than its content-length announces")
        if ended:
            self.arrival = Arrival.COMPLETE
        if self._tell is not None and (data or ended):
            self._tell()

    def lose(self, failure: Failure) -> None:
        """Nothing more comes, and what has come is not the whole, for this reason."""
        self.arrival = Arrival.LOST
        self._failure = failure

    # What is read.

    @property
    def has_data(self) -> bool:
        """Whether bytes of the body wait to be read."""
        return bool(self._inbox)

    @property
    def ended(self) -> bool:
        """Whether nothing more comes from the client."""
        return self.arrival is not Arrival.UNDER_WAY

    def pop(self) -> bytes:
        """Bytes of the body that have come; their room in the window is given back."""
        data, size = self._inbox.popleft()
        self._output.give_back(self._wire, size)
        self._request.received += len(data)
        return data

    def check_whole(self) -> None:
        """Raises `ClientGone` if the body ended before its end."""
        if self.arrival is Arrival.LOST:
            raise ClientGone(self._failure)

    def watch(self, callback: Callable[[], object] | None) -> None:
        """Call back each time more of the body, or its end, has come; None: no more."""
        self._tell = callback

    def discard(self) -> None:
        """Forget what nobody will read, and give its room in the window back."""
        while self._inbox:
            self._output.give_back(self._wire, self._inbox.popleft()[1])

    # The whole of it.

    def is_here(self, settings: Settings) -> bool:
        """Whether all of it has come, and it is small enough to be kept in memory."""
        return self.ended and sum(len(data) for data, _ in self._inbox) <= settings.body_memory

    def read(self, settings: Settings, proceed: Callable[[], None]) -> None:
        """Set the request's body and its length: read to the end, or a stream where buffering is off.

        `proceed` tells the client to send it. Raises `ExchangeError` or `ClientGone`.
        """
        request = self._request
        length = request.length = request.fields.content_length
        if length is not None:
            check_length(length, settings)
        expected = request.fields.expect and not self._inbox
        if not settings.request_buffering and not self.ended:
            request.body = _BodyStream(self, settings, proceed, expects_continue=expected)
            return
        if expected and not self.ended:
            proceed()
        request.body = self._collect(settings)
        if request.length is None:
            request.length = len(request.body) if isinstance(request.body, bytes) else request.body.length
        if not request.length:
            request.body = None

    def _collect(self, settings: Settings) -> bytes | Spool:
        """The whole body: bytes while it fits in memory, else a spool."""
        pace = Pace(settings)
        kept = bytearray()
        total = 0
        spool: Spool | None = None
        try:
            while data := self._receive(pace):
                total += len(data)
                if total > settings.max_body:
                    raise too_large(settings.max_body)
                if spool is None:
                    kept += data
                    if total > settings.body_memory:
                        spool = new_spool(settings)
                        store(spool, bytes(kept))
                        kept.clear()
                else:
                    store(spool, data)
        except BaseException:
            if spool is not None:
                spool.close()
            raise
        return spool if spool is not None else bytes(kept)

    def _receive(self, pace: Pace) -> bytes:
        """The next bytes of the body, b"" at its end. Raises `ExchangeError` or `ClientGone`."""
        while not self._inbox:
            if self.ended:
                self.check_whole()
                return b""
            self._wait_for_data(pace)
        data = self.pop()
        pace.took(len(data))
        return data

    def _wait_for_data(self, pace: Pace) -> None:
        """Return when more of the body has come. Raises `ExchangeError`."""
        self.watch(getcurrent().switch)
        try:
            with blaming(errors.CLIENT_CLOSED, pace.late):
                self._pause(pace.deadline())
        finally:
            self.watch(None)


class _BodyStream(StreamedBody):
    """A body passed on while it comes, where buffering is switched off."""

    def __init__(
        self, body: IncomingBody, settings: Settings, proceed: Callable[[], None], *, expects_continue: bool
    ) -> None:
        self._body = body
        self._proceed = proceed
        self.timeout = settings.body_timeout
        self._max_body = settings.max_body
        self._total = 0
        self.done = False
        self.expects_continue = expects_continue

    def proceed(self) -> None:
        self._proceed()

    @property
    def ready(self) -> bool:
        return self._body.has_data or self._body.ended

    def watch(self, callback: Callable[[], object]) -> None:
        self._body.watch(callback)

    def unwatch(self) -> None:
        self._body.watch(None)

    def take(self) -> bytes | None:
        body = self._body
        if not body.has_data:
            if not body.ended:
                return None
            body.check_whole()
            self.done = True
            return b""
        data = body.pop()
        self._total += len(data)
        if self._total > self._max_body:
            raise too_large(self._max_body)
        return data
