"""The sending half of an HTTP/2 connection: one buffer, one send per round of the loop, streams in turn.

Frames collect in the `h2` library's buffer while greenlets of many streams run; a callback at the end of the loop's
round sends them together. What the kernel does not take is kept, and while more than `_MOST_QUEUED` bytes are kept no
stream is given room: its body then waits where it came from. Streams that wait for room are woken in turn, each for
one `QUANTUM`, so that a long answer never holds up a short one.

A client may hold up one stream by that stream's window: it is the relay that loses patience with it then. It holds up
the connection by its window or by not reading: the connection measures that itself, by the same rule, since a stream
that waits for its turn is not slow.
"""

from enum import Enum, auto
from time import monotonic
from typing import Any, Protocol

from h2.connection import H2Connection
from h2.errors import ErrorCodes

from proxy.downstream.frontend import Frontend
from proxy.downstream.h2.library import new_library
from proxy.net.event_loop import NEVER, Watcher
from proxy.net.sockets import Socket
from proxy.net.stream import Stream
from proxy.net.tls_socket import TlsSocket
from proxy.wire.h2_frames import FrameGuard, goaway

QUANTUM = 32768
"""Bytes of a body that a stream may send before others have their turn."""

_MOST_QUEUED = 1 << 17
_MOST_UNREAD = 1 << 18
"""Bytes of heads and answers to control frames kept for a client that does not read: it is not read either then."""

_MOST_FRAME = 16384
_TABLE_SIZE = 4096
"""Bytes of the compression context: the encoder compares its entries one by one, so a client may not have more."""


class Stage(Enum):
    """How far a connection has come. What is queued is sent in every one of them."""

    OPEN = auto()  # new streams are taken
    LEAVING = auto()  # the client was told to open no more, and those that were on their way are taken
    REFUSING = auto()  # new streams are refused; it ends when none is left
    ENDED = auto()  # the last GOAWAY is queued; nothing is acted upon any more
    LINGERING = auto()  # all was sent, our side is closed; what still comes is read away for a moment
    LEFT = auto()  # the client's end has come; it is closed when all was sent


OPEN, LEAVING, REFUSING, ENDED, LINGERING, LEFT = Stage  # found faster than an attribute of the enumeration


class Waiting(Protocol):
    """A stream that waits for room."""

    id: int

    def wake(self) -> None: ...


class Output(Stream):
    """A connection as its streams see it when they send."""

    __slots__ = (
        "_held_since",
        "_queued",
        "_scheduled",
        "_taken",
        "_unsent",
        "_waiting",
        "client",
        "front",
        "guard",
        "h2",
        "last_stream",
        "stage",
    )

    def __init__(self, sock: Socket | TlsSocket, front: Frontend, client: str, watcher: Watcher | None = None) -> None:
        context = front.context
        super().__init__(sock, context.hub, context.deadlines, watcher)
        self.front = front
        self.client = client
        self.guard = FrameGuard(monotonic)
        self.h2 = new_library(front.tables.settings.max_streams, front.tables.head_limits.block)
        self.last_stream = 0
        """The latest stream that was acted upon."""
        self.stage = OPEN
        self._unsent = b""
        self._queued = 0  # bytes in the library's buffer, about
        self._scheduled = False
        self._held_since = NEVER
        """Since when the client holds the connection up, counted anew whenever it has taken enough meanwhile."""
        self._taken = 0  # bytes that it took since then
        self._waiting: dict[Waiting, None] = {}
        self.schedule()

    @property
    def room(self) -> int:
        """Bytes that may be queued now, perhaps less than none."""
        return _MOST_QUEUED - self._queued - len(self._unsent)

    def queue_data(self, stream: int, data: bytes | memoryview, *, last: bool) -> int:
        """Queue what windows and buffer allow of a body, at most `QUANTUM`; `last` ends the stream behind all of it.

        Raises `h2.exceptions.ProtocolError` if the stream is gone.
        """
        h2 = self.h2
        size = len(data)
        allowed = min(size, QUANTUM, self.room, h2.local_flow_control_window(stream))
        if allowed <= 0:
            return 0
        most = min(_MOST_FRAME, h2.max_outbound_frame_size)
        sent = 0
        while sent < allowed:
            until = min(allowed, sent + most)
            h2.send_data(stream, data[sent:until], end_stream=last and until == size)
            sent = until
        self._queued += sent
        self._taken += sent
        self.guard.sent(sent)
        self.schedule()
        return sent

    # Waiting for room.

    def wait_for_room(self, stream: Waiting) -> None:
        """Wake the stream each time there is room for it, until `leave_room`."""
        self._waiting[stream] = None
        self.schedule()

    def leave_room(self, stream: Waiting) -> None:
        self._waiting.pop(stream, None)

    @property
    def contended(self) -> bool:
        """Whether streams wait for their turn."""
        return bool(self._waiting)

    def _wake(self) -> None:
        for stream in list(self._waiting):
            if self.room <= 0 or self.h2.outbound_flow_control_window <= 0 or self.closed:
                return
            if stream in self._waiting and self.h2.local_flow_control_window(stream.id) > 0:
                del self._waiting[stream]
                self._waiting[stream] = None
                stream.wake()

    # Sending.

    def schedule(self) -> None:
        """Send what is queued, and wake who waits, when the loop's round is over."""
        if not self._scheduled and not self.closed:
            self._scheduled = True
            self.hub.loop.run_callback(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self.closed:
            return
        self._queued = 0
        data = self.h2.data_to_send()
        if self._unsent:
            data = self._unsent + data
        if data:
            try:
                sent = taken = self.send(data)
                while taken and sent < len(data):
                    taken = self.send(memoryview(data)[sent:])
                    sent += taken
            except OSError:
                self.lost()
                return
            self._sent(data, sent)
        if not self._unsent:
            self._wake()
        self._measure()
        self.settle()

    def _sent(self, data: bytes, sent: int) -> None:
        if sent == len(data):
            self._unsent = b""
            self.unwatch_writable()
            if not self.watched and self.stage is not LEFT:
                self.watch_readable(self.on_readable)
            return
        self._taken += sent
        self._unsent = data[sent:]
        self.watch_writable(self._flush)
        if len(self._unsent) > _MOST_UNREAD:
            self.unwatch_readable()

    def _measure(self) -> None:
        """See whether the client holds the connection up, and whether it takes enough all the same."""
        if not self._unsent and not (self._waiting and self.h2.outbound_flow_control_window <= 0):
            self._held_since = NEVER
            return
        settings = self.front.tables.settings
        if self._held_since is NEVER or self._taken >= max(1, settings.min_read_rate * settings.write_timeout):
            self._held_since = monotonic()
            self._taken = 0

    def say_goaway(self, last_stream: int, code: ErrorCodes, reason: str = "") -> None:
        """Queue a GOAWAY behind everything that is queued."""
        self._unsent += self.h2.data_to_send() + goaway(last_stream, code, reason)
        self.schedule()

    # What the receiving half makes of it.

    def lost(self) -> None:
        """The connection is gone: so are its streams."""
        raise NotImplementedError

    def settle(self) -> None:
        """Something has changed: set the deadline, or close what has come to its end."""
        raise NotImplementedError


def bound_table(h2: H2Connection) -> None:
    """Keep the compression context small, whatever the client would keep of it (RFC 7541 section 4.2)."""
    encoder: Any = h2.encoder
    if encoder.header_table_size > _TABLE_SIZE:
        encoder.header_table_size = _TABLE_SIZE
        # Sizes that were never used need not be announced.
        encoder.table_size_changes = [size for size in encoder.table_size_changes if size <= _TABLE_SIZE]
