"""Request bodies that come on an HTTP/2 stream: read to their end, or passed on while they come."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet
from h2.exceptions import ProtocolError

from proxy import errors
from proxy.downstream.h1.body import Pace, check_length, new_spool, store, too_large
from proxy.errors import ClientGone, DeadlinePassed
from proxy.exchange.request import Request
from proxy.net.event_loop import NEVER
from proxy.net.spool import Spool
from proxy.settings import Settings
from proxy.upstream.body import StreamedBody
from proxy.wire.h2_head import Malformed

if TYPE_CHECKING:
    from proxy.downstream.h2.connection import Connection


_COALESCED = 1024
"""Bytes below which a piece of a body that waits to be read is joined with the next."""


class Incoming(Enum):
    """How far the client has come with its half of a stream (RFC 9113 section 5.1)."""

    OPEN = auto()  # more may come
    COMPLETE = auto()  # END_STREAM has come, behind as much as was announced
    LOST = auto()  # reset, by either side, or the connection is gone: what has come is not the whole


class BodySource(ABC):
    """The receiving half of a stream. At most one greenlet waits for the stream at a time."""

    __slots__ = (
        "_came",
        "_inbox",
        "_tell",
        "_waiter",
        "connection",
        "deadline",
        "id",
        "incoming",
        "lost_by",
        "request",
    )

    request: Request

    def __init__(self, connection: "Connection", number: int, *, ended: bool) -> None:
        self.connection = connection
        self.id = number
        self.incoming = Incoming.COMPLETE if ended else Incoming.OPEN
        self.lost_by = errors.CLIENT_CLOSED
        """Why the body is not the whole, where it is `Incoming.LOST`."""
        self._came = 0  # bytes of the body, read or not
        self.deadline = NEVER
        self._inbox: deque[tuple[bytes, int]] = deque()  # what came of the body, and what it took of the window
        self._tell: Callable[[], object] | None = None
        self._waiter: greenlet | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more comes from the client."""
        return self.incoming is not Incoming.OPEN

    def _wait(self, deadline: float) -> None:
        """Return when the greenlet is switched to. Raises `DeadlinePassed`."""
        connection = self.connection
        self._waiter = getcurrent()
        self.deadline = deadline
        connection.deadlines.streams.add(self)
        try:
            connection.hub.switch()
        finally:
            self._waiter = None
            self.deadline = NEVER
            connection.deadlines.streams.discard(self)

    def expire(self) -> None:
        if self._waiter is not None:
            self._waiter.throw(DeadlinePassed)

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
            self._acknowledge(size)  # nothing but padding
        length = self.request.fields.content_length
        if length is not None and (self._came > length or (ended and self._came < length)):
            raise Malformed("another body than its content-length announces")
        if ended:
            self.incoming = Incoming.COMPLETE
        if self._tell is not None and (data or ended):
            self._tell()

    def _acknowledge(self, size: int) -> None:
        try:
            self.connection.h2.acknowledge_received_data(size, self.id)
        except ProtocolError:
            return  # the connection has ended
        self.connection.schedule()

    @property
    def has_data(self) -> bool:
        """Whether bytes of the body wait to be read."""
        return bool(self._inbox)

    def pop(self) -> bytes:
        """Bytes of the body that have come; their room in the window is given back."""
        data, size = self._inbox.popleft()
        self._acknowledge(size)
        self.request.received += len(data)
        return data

    def check_whole(self) -> None:
        """Raises `ClientGone` if the body ended before its end."""
        if self.incoming is Incoming.LOST:
            raise ClientGone(self.lost_by)

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

    def watch(self, callback: Callable[[], object] | None) -> None:
        """Call back each time more of the body, or its end, has come; None: no more."""
        self._tell = callback

    def _wait_for_data(self, pace: Pace) -> None:
        """Return when more of the body has come. Raises `ExchangeError`."""
        self.watch(getcurrent().switch)
        try:
            self._wait(pace.deadline())
        except DeadlinePassed:
            raise pace.late() from None
        finally:
            self.watch(None)

    def take_body(self, request: Request, settings: Settings) -> bool:
        """Set the request's body if all of it has come; whether nothing of it is still to come.

        Raises `ExchangeError` or `ClientGone`.
        """
        fields = request.fields
        if not fields.chunked and fields.content_length is None:
            return True
        if not self.ended or sum(len(data) for data, _ in self._inbox) > settings.body_memory:
            return False
        self.read_body(request, settings)
        return True

    def read_body(self, request: Request, settings: Settings) -> None:
        length = request.length = request.fields.content_length
        if length is not None:
            check_length(length, settings)
        if not settings.request_buffering and not self.ended:
            request.body = _BodyStream(self, settings)
            return
        if request.fields.expect and not self.ended and not self._inbox:
            self.proceed()
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

    def discard(self) -> None:
        """Forget what nobody will read, and give its room in the window back."""
        while self._inbox:
            self._acknowledge(self._inbox.popleft()[1])

    @abstractmethod
    def proceed(self) -> None:
        """Tell the client to send its body (RFC 9110 section 10.1.1)."""


class _BodyStream(StreamedBody):
    """A body passed on while it comes, where buffering is switched off."""

    def __init__(self, stream: BodySource, settings: Settings) -> None:
        self._stream = stream
        self.timeout = settings.body_timeout
        self._max_body = settings.max_body
        self._total = 0
        self.done = False
        self.expects_continue = stream.request.fields.expect and not stream.has_data

    def proceed(self) -> None:
        self._stream.proceed()

    @property
    def ready(self) -> bool:
        return self._stream.has_data or self._stream.ended

    def watch(self, callback: Callable[[], object]) -> None:
        self._stream.watch(callback)

    def unwatch(self) -> None:
        self._stream.watch(None)

    def take(self) -> bytes | None:
        stream = self._stream
        if not stream.has_data:
            if not stream.ended:
                return None
            stream.check_whole()
            self.done = True
            return b""
        data = stream.pop()
        self._total += len(data)
        if self._total > self._max_body:
            raise too_large(self._max_body)
        return data
