"""Request bodies that arrive on an HTTP/2 stream: taken out of the frames, and the windows kept."""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from greenlet import getcurrent

from proxy import errors
from proxy.downstream.body import BodySource, BodyStream, Pace, check_length, collect
from proxy.downstream.h2.output import Output
from proxy.errors import ClientGone, Failure, blaming
from proxy.exchange.request import Request
from proxy.settings import Settings
from proxy.wire.fields import field_value
from proxy.wire.h2.request import Malformed
from proxy.wire.h2.response import CONTINUE
from proxy.wire.h2.sending import StreamClosed
from proxy.wire.h2.streams import Stream as WireStream

_COALESCED: Final = 1024
"""Bytes below which a piece of a body that waits to be read is joined with the next."""


class Arrival(Enum):
    """How far a body has come."""

    UNDER_WAY = auto()  # more may come
    COMPLETE = auto()  # END_STREAM has come, behind as much as was announced
    LOST = auto()  # the stream was reset, by either side, or the connection is gone: what has come is not the whole


class IncomingBody(BodySource):
    """The body of one request, from the frames to its reader: at most one greenlet."""

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

    def arrived(self, data: bytes, size: int, *, ended: bool) -> None:
        """Bytes of the body have come, which took `size` of the window; it is given back when they are read.

        Raises `Malformed` if the body is not as long as its content-length (RFC 9113 section 8.1.1): it is compared
        here, where every body passes, whatever ends it and whether it is read or not.
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

    def take(self) -> bytes | None:
        if self._inbox:
            return self.pop()
        if self.arrival is Arrival.LOST:
            raise ClientGone(self._failure)
        return b"" if self.arrival is Arrival.COMPLETE else None

    @property
    def ready(self) -> bool:
        return bool(self._inbox) or self.arrival is not Arrival.UNDER_WAY

    def wait(self, pace: Pace) -> None:
        self._tell = getcurrent().switch
        try:
            with blaming(errors.CLIENT_CLOSED, late=pace.late):
                self._pause(pace.deadline())
        finally:
            self._tell = None

    def watch(self, callback: Callable[[], object]) -> None:
        self._tell = callback

    def unwatch(self) -> None:
        self._tell = None

    def proceed(self) -> None:
        try:
            self._output.sender.send_section(self._wire, CONTINUE, ends=False)
        except StreamClosed as error:
            raise ClientGone from error
        self._output.schedule()

    def discard(self) -> None:
        """Forget what will not be read, and give its room in the window back."""
        while self._inbox:
            self._output.give_back(self._wire, self._inbox.popleft()[1])

    # The whole of it.

    def is_here(self, settings: Settings) -> bool:
        """Whether all of it has come, and it is small enough to be kept in memory."""
        return self.ended and sum(len(data) for data, _ in self._inbox) <= settings.body_memory

    def read(self, settings: Settings) -> None:
        """Set the request's body and its length: read to the end, or a stream where buffering is off.

        Raises `ExchangeError` or `ClientGone`.
        """
        request = self._request
        length = request.length = request.fields.content_length
        if length is not None:
            check_length(length, settings)
        expected = request.fields.expect and not self._inbox and not self.ended
        if not self.ended and (not settings.request_buffering or _is_grpc(request, settings)):
            request.body = BodyStream(self, settings, expects_continue=expected)
            return
        if expected:
            self.proceed()
        body = collect(self, settings)
        if request.length is None:
            request.length = len(body) if isinstance(body, bytes) else body.length
        request.body = body if request.length else None


def _is_grpc(request: Request, settings: Settings) -> bool:
    """Whether client and application talk in both directions at once, so that neither waits for the other's end.

    Only where the application speaks HTTP/2: before any other the type would be a client's way around the buffering.
    """
    if not any(peer.address.multiplexed for peer in settings.upstream):
        return False
    return (field_value(request.fields.lines, b"content-type") or b"").startswith(b"application/grpc")
