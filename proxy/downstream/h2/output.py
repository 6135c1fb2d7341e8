"""The sending half of an HTTP/2 connection: one buffer, one send per round of the loop, streams in turn.

Frames collect while the exchanges of many streams run; a callback at the end of the loop's round sends them together.
What the kernel does not take is kept, and while more than `_MOST_QUEUED` bytes are kept no stream is given room: its
body then waits where it came from. Streams that wait for room are woken in turn, each for one `QUANTUM`, so that a
long response never holds up a short one.

A client may hold up one stream by that stream's window: it is the relay that loses patience with it then. It holds up
the connection by its window or by not reading: the connection measures that itself, by the same rule, since a stream
that waits for its turn is not slow.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from proxy.net.event_loop import NEVER, Loop
from proxy.settings import Settings
from proxy.wire.h2 import frames
from proxy.wire.h2.faults import ErrorCode
from proxy.wire.h2.frames import MAX_FRAME_SIZE
from proxy.wire.h2.session import ServerSession
from proxy.wire.h2.streams import Stream as WireStream

QUANTUM: Final = 32768
"""Bytes of a body that a stream may send before others have their turn."""

_ALONE: Final = 2 * QUANTUM
"""The same while no other waits."""

_MOST_QUEUED: Final = 1 << 17
_MOST_UNREAD: Final = 1 << 18
"""Bytes of heads and of answers to control frames kept for a client that does not read: it is not read either then."""


class Waiting(Protocol):
    """A stream that waits for room."""

    @property
    def wire(self) -> WireStream: ...

    def wake(self) -> None:
        """It is its turn to send."""


class Carrier(Protocol):
    """The connection whose output this is."""

    def send(self, data: bytes | memoryview) -> int:
        """What the kernel takes at once. Raises `OSError`."""

    def watch_writable(self, callback: Callable[[], object]) -> None: ...

    def unwatch_writable(self) -> None: ...

    def pause_reading(self) -> None:
        """The client does not read what its frames are answered with."""

    def resume_reading(self) -> None:
        """It has read all of it."""

    def lost(self) -> None:
        """The connection is gone: so are its streams."""

    def settle(self) -> None:
        """Something has changed: set the deadline, or close what has come to its end."""


class Output:
    """What a connection's streams send through. `loop` is the event loop."""

    __slots__ = (
        "_carrier",
        "_loop",
        "_queued",
        "_scheduled",
        "_served",
        "_taken",
        "_waiting",
        "held_since",
        "sender",
        "session",
        "unsent",
    )

    def __init__(self, carrier: Carrier, session: ServerSession, loop: Loop) -> None:
        self._carrier: Carrier | None = carrier
        """None once it is closed."""
        self._loop = loop
        self.session = session
        self.sender = session.sender
        self.unsent = b""
        """What the kernel has not taken."""
        self._queued = 0  # bytes of bodies that were queued since the last send
        self._scheduled = False
        self.held_since = NEVER
        """Since when the client holds the connection up, counted anew whenever it has taken enough meanwhile."""
        self._taken = 0  # bytes that it took since then
        self._waiting: dict[Waiting, None] = {}
        self._served: set[Waiting] = set()
        """Those that have had their turn while others wait for theirs."""

    @property
    def closed(self) -> bool:
        """Whether the connection is gone: nothing that is sent arrives."""
        return self._carrier is None

    @property
    def has_work(self) -> bool:
        """Whether something is to be sent, or waits to be."""
        return self.sender.pending or bool(self._waiting)

    # What streams send.

    def send_data(self, stream: WireStream, data: bytes | memoryview, *, last: bool) -> int:
        """Queue as much of a body as its turn, its windows and the buffer allow; `last` ends the stream behind it."""
        sender = self.sender
        size = len(data)
        room = min(_MOST_QUEUED - self._queued - len(self.unsent), sender.room(stream))
        if 0 < size <= MAX_FRAME_SIZE and size <= room:  # most responses
            sender.send_data(stream, bytes(data), ends=last)
            sent = size
        else:
            allowed = min(size, room, QUANTUM if self._waiting else _ALONE)
            if allowed <= 0:
                return 0
            sent = 0
            while sent < allowed:
                until = min(allowed, sent + MAX_FRAME_SIZE)
                sender.send_data(stream, bytes(data[sent:until]), ends=last and until == size)
                sent = until
        self._queued += sent
        self._taken += sent
        if not self._scheduled:
            self.schedule()
        return sent

    def reset(self, stream: WireStream, code: ErrorCode) -> None:
        """Queue a RST_STREAM, unless the stream is over."""
        self.sender.reset(stream, code)
        self.schedule()

    def give_back(self, stream: WireStream, size: int) -> None:
        """So much of a request's body was read, or will not be: the client may send as much again."""
        if self.session.give_back(stream, size):
            self.schedule()

    def goaway(self, last_stream: int, code: ErrorCode, reason: str = "") -> None:
        """Queue a GOAWAY behind everything that is queued."""
        self.sender.send_frame(frames.goaway(last_stream, code, reason))
        self.schedule()

    # Streams in turn.

    def wait_for_room(self, stream: Waiting) -> None:
        """Wake the stream each time there is room for it, until `leave_room`."""
        self._waiting[stream] = None
        self.schedule()

    def leave_room(self, stream: Waiting) -> None:
        """It waits no more."""
        self._waiting.pop(stream, None)
        self._served.discard(stream)

    def waiting(self) -> list[Waiting]:
        """The streams that wait for room."""
        return list(self._waiting)

    def has_turn(self, stream: Waiting) -> bool:
        """Whether a stream may send now: once, while others wait."""
        if not self._waiting:
            return True
        if stream in self._served:
            return False
        self._served.add(stream)
        return True

    def _wake(self) -> None:
        sender = self.sender
        for stream in list(self._waiting):
            if self._queued >= _MOST_QUEUED or sender.window <= 0 or self._carrier is None:
                return
            if stream in self._waiting and sender.room(stream.wire) > 0:
                del self._waiting[stream]
                self._waiting[stream] = None
                self._served.discard(stream)
                stream.wake()
        if not self._waiting:
            self._served.clear()

    # Sending.

    def schedule(self) -> None:
        """Send what is queued, and wake whatever waits, when the loop's round is over."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.run_callback(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        carrier = self._carrier
        if carrier is None:
            return
        self._queued = 0
        data = self.unsent + self.sender.take()
        if data:
            try:
                sent = taken = carrier.send(data)
                while taken and sent < len(data):
                    taken = carrier.send(memoryview(data)[sent:])
                    sent += taken
            except OSError:
                carrier.lost()
                return
            self._sent(carrier, data, sent)
        if self._waiting and not self.unsent:
            self._wake()
        carrier.settle()

    def _sent(self, carrier: Carrier, data: bytes, sent: int) -> None:
        if sent == len(data):
            if self.unsent:
                self.unsent = b""
                carrier.unwatch_writable()
                carrier.resume_reading()
            return
        self._taken += sent
        self.unsent = data[sent:]
        carrier.watch_writable(self._flush)
        if len(self.unsent) > _MOST_UNREAD:
            carrier.pause_reading()

    def send_last(self) -> None:
        """Send as much of what is queued as goes at once; the connection is closed next."""
        if self._carrier is not None:
            try:
                self._carrier.send(self.unsent + self.sender.take())
            except OSError:
                pass

    def release(self) -> None:
        """The connection is closed: neither keeps the other in memory."""
        self._carrier = None

    def measure(self, settings: Settings) -> None:
        """See whether the client holds the connection up, and whether it takes enough all the same."""
        if not self.unsent and not (self._waiting and self.sender.window <= 0):
            self.held_since = NEVER
        elif self.held_since == NEVER or self._taken >= max(1, settings.min_read_rate * settings.write_timeout):
            self.held_since = monotonic()
            self._taken = 0
