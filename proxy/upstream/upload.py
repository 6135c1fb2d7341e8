"""The rest of a request that did not go out at once: sent while its exchange waits for something else.

An upstream may begin its response before it has read the whole request, and read on (full duplex). So no greenlet waits
for the sending. Watchers drive it, that of the upstream's socket and that of the client a streamed body comes from,
while the exchange reads the response and relays it.

    HELD ──100, final 2xx, a second of silence──► HUNGRY
    HUNGRY ──the client sends──► BLOCKED ──the upstream takes it──► HUNGRY ...
      ├──the last byte is sent──► WHOLE
      └──final response of 300 or more, end of the response, upstream gone──► STOPPED

What the client still sends once it is stopped is read and dropped until the exchange ends: a client that reads nothing
before it has sent everything would never get to its response.
"""

from collections.abc import Callable
from enum import Enum, auto
from time import monotonic
from typing import Protocol

from greenlet import getcurrent, greenlet

from proxy import errors
from proxy.errors import DISK_ERRORS, ExchangeError
from proxy.net.event_loop import NEVER, Deadlines
from proxy.net.spool import Spool
from proxy.net.stream import Sink
from proxy.upstream.body import StreamedBody, stalled
from proxy.upstream.faults import stale
from proxy.wire.body import LAST_CHUNK, chunk

_CONTINUE_PATIENCE = 1.0
"""Seconds that an upstream has to say whether it wants the body of a request with Expect: 100-continue."""


class Progress(Enum):
    """How far an upload has come, and what it waits for."""

    HELD = auto()  # the upstream's 100 (Continue), or another sign that it wants the body (RFC 9110 section 10.1.1)
    HUNGRY = auto()  # more of the body
    BLOCKED = auto()  # room at the upstream
    WHOLE = auto()  # nothing: all was sent
    STOPPED = auto()  # nothing: the rest is not wanted


HELD, HUNGRY, BLOCKED, WHOLE, STOPPED = Progress  # found faster than an attribute of the enumeration


class UpstreamSink(Sink, Protocol):
    """The connection that a request is sent on."""

    deadlines: Deadlines

    @property
    def has_spoken(self) -> bool:
        """Whether bytes of a response have come, read or not."""


class Upload:
    """The rest of a request: `unsent` bytes of it, then `body`, whose length is `length` (None: it is chunked).

    What fails is thrown into the greenlet that made it: `ExchangeError`, `ClientGone` or `Stale`.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_left",
        "_offset",
        "_owner",
        "_progress",
        "_timeout",
        "_unsent",
        "deadline",
        "heard_at",
        "moved",
        "moved_at",
    )

    def __init__(
        self,
        connection: UpstreamSink,
        unsent: bytes,
        body: Spool | StreamedBody | None,
        length: int | None,
        timeout: float,
    ) -> None:
        self._connection = connection
        self._unsent = memoryview(unsent)
        self._body = body
        self._left = length  # bytes of a streamed body still to come
        self._offset = 0  # in a spooled one
        self._timeout = timeout
        self._owner: greenlet = getcurrent()
        self._progress = BLOCKED
        self.deadline = NEVER
        self.heard_at = 0.0
        """When bytes of the response's body came last (monotonic seconds)."""
        self.moved = 0
        """Bytes that have moved since it began."""
        self.moved_at = monotonic()
        """When the last of them did, or when it ended (monotonic seconds)."""

    @property
    def under_way(self) -> bool:
        return self._progress is not WHOLE and self._progress is not STOPPED

    @property
    def whole(self) -> bool:
        """Whether the upstream was sent all of the request."""
        return self._progress is WHOLE

    @property
    def held(self) -> bool:
        return self._progress is HELD

    @property
    def held_until(self) -> float:
        """Until when the upstream may say that it wants the body; its silence then means yes."""
        return self.moved_at + _CONTINUE_PATIENCE

    @property
    def quiet_since(self) -> float:
        """From when on the upstream's silence counts (monotonic seconds): while it is being sent to it may wait."""
        return monotonic() if self.under_way else self.moved_at

    def start(self) -> None:
        """Send what goes at once. Raises what `Upload` says."""
        self._advance()

    # What the response means to it.

    def responded(self, status: int) -> None:
        """The upstream has sent a head. Raises what `Upload` says."""
        if status >= 300 or status == 101:
            self.stop()
        elif self.held and (status == 100 or status >= 200):
            self.proceed()

    def proceed(self) -> None:
        """Have the client send the body that it holds back. Raises what `Upload` says."""
        if isinstance(self._body, StreamedBody):
            self._body.proceed()
        self._progress = HUNGRY
        self._advance()

    def stop(self) -> None:
        """The upstream gets no more of it; what the client still sends is dropped until `close`."""
        if self.under_way:
            self._end(STOPPED)
            body = self._body
            if isinstance(body, StreamedBody) and not body.done:
                body.watch(self._discard)

    def close(self) -> None:
        """The exchange has ended."""
        if self.under_way:
            self._end(STOPPED)
        if isinstance(self._body, StreamedBody):
            self._body.unwatch()
        self._body = None

    def _end(self, progress: Progress) -> None:
        self._progress = progress
        self._connection.unwatch_writable()
        self._connection.deadlines.streams.discard(self)
        self.moved_at = monotonic()
        self._unsent = memoryview(b"")

    # Sending.

    def _advance(self) -> None:
        """Send until one side lets it wait."""
        body = self._body
        try:
            if self._unsent and not self._push():
                return
            if body is None:
                self._end(WHOLE)
            elif isinstance(body, Spool):
                self._send_spool(body)
            elif body.expects_continue:
                body.expects_continue = False
                self._progress = HELD
                self.deadline = NEVER  # the wait for the response has its own
                self._connection.unwatch_writable()
            else:
                self._send_stream(body)
        except OSError as error:
            self._sent_in_vain(error)

    def _push(self) -> bool:
        """Send what is unsent; whether the upstream has taken all of it."""
        sent = self._connection.send(self._unsent)
        if sent:
            self._count(sent)
            self._unsent = self._unsent[sent:]
        if self._unsent:
            self._await_room()
        return not self._unsent

    def _count(self, moved: int) -> None:
        self.moved += moved
        self.moved_at = monotonic()

    def _send_spool(self, spool: Spool) -> None:
        sent = spool.send_to(self._connection, self._offset) if self._offset < spool.length else 0
        if sent:
            self._count(sent)
            self._offset += sent
        if self._offset < spool.length:
            self._await_room()
        else:
            self._end(WHOLE)

    def _send_stream(self, body: StreamedBody) -> None:
        while True:
            data = body.take()
            if data is None:
                self._await_body(body)
                return
            if not data:
                break
            if self._left is not None:
                self._left -= len(data)
                if self._left < 0:
                    self._break_off("longer")
            self._unsent = memoryview(data if self._left is not None else b"".join(chunk(data)))
            if not self._push():
                body.unwatch()
                return
            if not body.ready:
                self._await_body(body)
                return
        if self._left or not body.done:
            self._break_off("shorter")
        body.unwatch()
        self._body = None
        if self._left is None:
            self._unsent = memoryview(LAST_CHUNK)
        if not self._unsent or self._push():
            self._end(WHOLE)

    def _break_off(self, than: str) -> None:
        """The rest, or the lack of it, would be read as another request (RFC 9112 section 6.3)."""
        self.stop()
        raise ExchangeError(errors.INTERNAL, f"a streamed body is {than} than announced")

    def _sent_in_vain(self, error: OSError) -> None:
        """A response may have come before the connection broke: look for it first (RFC 9112 section 9.5)."""
        self.stop()
        if error.errno in DISK_ERRORS:
            raise ExchangeError(errors.SPOOL, error.strerror or "") from None
        if not self._connection.has_spoken:
            raise stale(error) from None

    # Waiting.

    def _await_room(self) -> None:
        self._progress = BLOCKED
        self._connection.watch_writable(self._resume)
        self._expire_in(self._timeout)

    def _await_body(self, body: StreamedBody) -> None:
        self._progress = HUNGRY
        self._connection.unwatch_writable()
        body.watch(self._resume)
        self._expire_in(body.timeout)

    def _expire_in(self, seconds: float) -> None:
        self.deadline = monotonic() + seconds
        self._connection.deadlines.streams.add(self)

    def _resume(self) -> None:
        """The side it waited for is ready. Called from the loop: raises nothing."""
        self._guarded(self._advance)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the exchange deals with it, whatever it is
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.stop()
        self._owner.throw(error)

    def expire(self) -> None:
        """Nothing has moved for too long. A response that moves shows that both sides are alive."""
        if not self.under_way:
            return
        body = self._body
        if self._progress is HUNGRY and isinstance(body, StreamedBody):
            limit, error = body.timeout, stalled(body.timeout)
        else:
            limit, error = self._timeout, ExchangeError(errors.SEND_TIMEOUT)
        self.deadline = self.heard_at + limit
        if self.deadline <= monotonic():
            self._fail(error)

    def _discard(self) -> None:
        """The client goes on sending what is not wanted."""
        self._guarded(self._take_away)

    def _take_away(self) -> None:
        body = self._body
        if not isinstance(body, StreamedBody):
            return
        try:
            while (data := body.take()) and body.ready:
                self._count(len(data))
        except ExchangeError:  # too large, or malformed: it is left where it is
            data = b""
        if data is not None and not data:
            body.unwatch()
