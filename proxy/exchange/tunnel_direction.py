"""One direction of a tunnel: bytes on their way from one side to the other, and the frames that pass with them."""

from collections.abc import Callable
from typing import Final, Protocol

from proxy.exchange.tunnel_side import Side
from proxy.exchange.tunnel_states import DIRECTION_TRANSITIONS, DirectionState, TunnelState
from proxy.net import splice
from proxy.net.splice import Pipe, Pipes
from proxy.wire.frames import LONGEST_HEADER, PongFilter, frame_size

RELAYING, SEALED, ENDED = DirectionState  # found faster than an attribute of the enumeration
CLOSING: Final = TunnelState.CLOSING


class TunnelHost(Protocol):
    """The tunnel of a direction."""

    buffer: memoryview
    pipes: Pipes
    state: TunnelState

    @property
    def closed(self) -> bool: ...

    def on_boundary(self, direction: "Direction") -> None:
        """It may have come to the end of a frame."""

    def on_delivered(self, direction: "Direction") -> None:
        """Its target has taken what waited for it."""

    def on_ended(self, direction: "Direction") -> None:
        """Its source has ended."""

    def on_reset(self, side: Side) -> None:
        """This side was reset."""

    def close(self) -> None:
        """Neither side has anything more to send."""


class NoTunnel:
    """What a direction reports to once its tunnel is closed, so that neither keeps the other in memory."""

    buffer = memoryview(b"")
    pipes = Pipes()
    state = TunnelState.CLOSED
    closed = True

    def on_boundary(self, direction: "Direction") -> None: ...

    def on_delivered(self, direction: "Direction") -> None: ...

    def on_ended(self, direction: "Direction") -> None: ...

    def on_reset(self, side: Side) -> None: ...

    def close(self) -> None: ...


_NO_TUNNEL: Final = NoTunnel()

_ENDLESS: Final = 1 << 62
"""What a protocol without frames is to the relay: one frame that never ends."""


class Direction:
    """Bytes on their way from `source` to `target`."""

    __slots__ = (
        "_buffer",
        "_head",
        "_left",
        "_overhead",
        "_receive",
        "_send",
        "_spliced",
        "_tunnel",
        "framed",
        "inserted",
        "masked",
        "moved",
        "pending",
        "pipe",
        "pongs",
        "source",
        "state",
        "target",
    )

    def __init__(
        self, tunnel: "TunnelHost", source: Side, target: Side, *, masked: bool, framed: bool, pongs: PongFilter | None
    ) -> None:
        """`pongs` takes out those that answer the gateway's own pings, if there are any."""
        self._tunnel: TunnelHost = tunnel
        self.source = source
        self.target = target
        self.masked = masked
        self.framed = framed
        self._buffer = tunnel.buffer
        self._receive = source.sock.recv_into  # looked up once, not for each message
        self._send = target.sock.send
        self._spliced = splice.AVAILABLE and source.descriptor is not None and target.descriptor is not None
        self._overhead = 6 if masked else 2
        """Header bytes of a small frame."""
        self._left = 0 if framed else _ENDLESS  # bytes of the current frame's payload still to come
        self._head = b""  # an incomplete frame header
        self.pending: bytes | None = None
        self.pipe: Pipe | None = None
        self.moved = 0
        self.inserted = 0
        """Bytes that the gateway has put between those of the source."""
        self.pongs = pongs
        self.state = RELAYING

    def become(self, state: DirectionState) -> None:
        assert state in DIRECTION_TRANSITIONS[self.state], (self.state, state)
        self.state = state

    @property
    def delivered(self) -> bool:
        """Whether the target has taken everything that came."""
        return self.pending is None and self.pipe is None

    @property
    def at_boundary(self) -> bool:
        """Whether something may be put behind what has passed."""
        return self.delivered and (not self.framed or not (self._left or self._head)) and not self._holds

    @property
    def between_messages(self) -> bool:
        return self.at_boundary and not (self.pongs is not None and self.pongs.fragmented)

    @property
    def _holds(self) -> bool:
        return self.pongs is not None and self.pongs.holds

    @property
    def passed(self) -> int:
        """Bytes of the source that the target has taken."""
        return self.moved - self.inserted

    @property
    def heard(self) -> int:
        """Grows with whatever comes from the source."""
        return self.passed + (0 if self.pongs is None else self.pongs.taken_out)

    @property
    def pings_passed(self) -> int:
        """Pings of the source's own."""
        return 0 if self.pongs is None else self.pongs.pings

    @property
    def on_readable(self) -> Callable[[], None]:
        """What is called when the source can be read."""
        return self.relay if self.pongs is None else self.relay_followed

    def relay(self) -> None:
        """The source can be read: pass on what it has."""
        if self._left or self._head or self.state is not RELAYING or self._tunnel.state is CLOSING:
            self.relay_followed()
            return
        buffer = self._buffer
        try:
            count = self._receive(buffer)
        except BlockingIOError:
            return
        except OSError:
            self._tunnel.on_reset(self.source)
            return
        data = buffer[:count]
        # Nearly every message is one frame below 64 KiB in one read: it begins and ends at a boundary. Seen here rather
        # than by `follow`, a message of 16 KiB costs 10,800 instructions there and back instead of 26,500.
        length = buffer[1] & 0x7F
        if length == 126:
            length = (buffer[2] << 8 | buffer[3]) + 2
        if count != length + self._overhead or length == 127:
            if not count:
                self._ended()
                return
            self.follow(data)
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._tunnel.on_reset(self.target)
            return
        self.moved += sent
        if sent != count:
            self._keep(data[sent:])

    def relay_followed(self) -> None:
        """The same where a frame has begun, the last one has passed, or not all of them pass."""
        if self.state is not RELAYING:
            self._discard()
            return
        if self._left >= splice.WORTHWHILE and self._spliced:
            self._splice()
            self._tunnel.on_boundary(self)
            return
        try:
            count = self._receive(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            self._tunnel.on_reset(self.source)
            return
        if not count:
            self._ended()
            return
        data = self._buffer[:count]
        if self._left and self._tunnel.state is CLOSING:
            # A close frame is due behind this frame: a side that sends without a pause has begun the next one already.
            data = data[: self._left]
        passed = self.follow(data)
        if not passed or self.send(passed):
            self._tunnel.on_boundary(self)

    def send(self, data: memoryview | bytes) -> bool:
        """Send, or keep what the target does not take at once; False if the target is gone."""
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._tunnel.on_reset(self.target)
            return False
        self.moved += sent
        if sent != len(data):
            self._keep(data[sent:])
        return True

    def insert(self, frame: bytes) -> bool:
        """Send a frame of the gateway's own. Only where the last one has ended; as `send`."""
        self.inserted += len(frame)
        return self.send(frame)

    def _keep(self, data: memoryview | bytes) -> None:
        """The target is full: hold what it did not take and read no more until it did."""
        self.pending = bytes(data)
        self._wait_for_target()

    def _splice(self) -> None:
        try:
            pipe = self._tunnel.pipes.take()
        except OSError:  # no descriptor is left: the same bytes through Python
            self._spliced = False
            return
        descriptor = self.source.descriptor
        assert descriptor is not None
        try:
            moved = pipe.fill(descriptor, self._left)
        except BlockingIOError:
            self._tunnel.pipes.give_back(pipe)
            return
        except OSError:
            self._tunnel.pipes.give_back(pipe)
            self._tunnel.on_reset(self.source)
            return
        if not moved:
            self._tunnel.pipes.give_back(pipe)
            self._ended()
            return
        self._left -= moved
        self.pipe = pipe
        self._drain_pipe()

    def _drain_pipe(self) -> None:
        descriptor = self.target.descriptor
        assert self.pipe is not None
        assert descriptor is not None
        try:
            self.moved += self.pipe.drain(descriptor)
        except OSError:
            self._tunnel.on_reset(self.target)
            return
        if self.pipe.held:
            self._wait_for_target()
        else:
            self._tunnel.pipes.give_back(self.pipe)
            self.pipe = None

    def _wait_for_target(self) -> None:
        self.source.unwatch_readable()
        self.target.watch_writable(self._target_ready)

    def _target_ready(self) -> None:
        self.target.unwatch_writable()
        if self.pipe is not None:
            self._drain_pipe()
        elif self.pending is not None:
            data, self.pending = self.pending, None
            self.send(data)
        if self.delivered and not self._tunnel.closed:
            self._tunnel.on_delivered(self)

    def _ended(self) -> None:
        """EOF behind everything that was sent: pass it on."""
        self.source.unwatch_readable()
        self.become(ENDED)
        self.target.finish_sending()
        self._tunnel.on_ended(self)

    def _discard(self) -> None:
        """After our close frame the protocol is over: read only to see the end."""
        try:
            if self._receive(self._buffer):
                return
        except BlockingIOError:
            return
        except OSError:
            self._tunnel.close()
            return
        self.source.unwatch_readable()
        if self.state is SEALED:
            self.become(ENDED)
        self._tunnel.on_ended(self)

    def follow(self, data: memoryview) -> memoryview | bytes:
        """Follow the frames, to know where one ends; what passes."""
        count = len(data)
        if self._left >= count:
            self._left -= count
            return data
        if self.pongs is not None:
            passed, self._left = self.pongs.feed(bytes(data), self._left)
            return passed
        position = self._left
        head, self._head = self._head, b""
        while position < count:
            begun = head + bytes(data[position : position + LONGEST_HEADER])
            size = frame_size(begun, masked=self.masked)
            if size is None:
                self._head = begun
                break
            position += size - len(head)
            head = b""
        self._left = max(0, position - count)
        return data

    def release(self) -> None:
        """The tunnel is closed."""
        self._tunnel = _NO_TUNNEL

    def stop(self) -> None:
        """Forget what the target has not taken."""
        self.target.unwatch_writable()
        self.pending = None
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None
