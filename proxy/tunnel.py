"""Both directions of a WebSocket after its handshake.

No greenlet: each side's read watcher calls the direction's `relay`, which receives into one buffer of the process and
sends from it. A tunnel at rest is two sockets, two watchers and this object. A side that does not take its bytes stops
the other's watcher until it does, so at most one buffer of bytes waits per direction.

Each direction counts frames as they pass (RFC 6455 section 5.2), so that a close frame can be put between two of them
when the gateway stops or the tunnel has been silent too long; inside a frame it would be read as payload. A long frame
is spliced inside the kernel up to its end.

        open ──EOF of one side──► half closed ──EOF of the other, or silence──► closed
         │  └──stop, silence──► closing (close frames sent at the next boundaries) ──EOFs, or deadline──► closed
         └──reset of either side──► closed, the other side reset too
"""

from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from proxy.errors import Blame
from proxy.net import splice
from proxy.net.splice import Pipe, Pipes
from proxy.net.stream import NEVER, Deadlines, Hub
from proxy.wire.frames import LONGEST_HEADER, close_frame, frame_size

BUFFER_SIZE = 1 << 17
GOING_AWAY = 1001
SERVICE_RESTART = 1012  # registered beside those of RFC 6455: another process serves from now on

_CLOSE_PATIENCE = 5.0
"""Seconds that both sides have to end the connection after close frames were sent."""


class Side(Protocol):
    """One end of a tunnel: a connection, or a stream of one that looks like it."""

    sock: Any
    """Non-blocking: `recv_into` and `send`; what is sent goes as far as there is room."""
    reader: Any
    """A watcher: `start` with who is called when there is something to receive, `stop`, `active`."""
    deadline: float

    @property
    def descriptor(self) -> int | None:
        """For splicing; None if the bytes must pass through Python."""

    def watch_writable(self, callback: Callable[[], object]) -> None: ...

    def unwatch_writable(self) -> None: ...

    def finish_sending(self) -> None: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


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
        "masked",
        "moved",
        "pending",
        "pipe",
        "sealed",
        "source",
        "target",
    )

    def __init__(self, tunnel: "Tunnel", source: "Side", target: "Side", *, masked: bool) -> None:
        self._tunnel = tunnel
        self.source = source
        self.target = target
        self.masked = masked
        self._buffer = tunnel.buffer
        self._receive = source.sock.recv_into  # looked up once, not for each message
        self._send = target.sock.send
        self._spliced = splice.AVAILABLE and source.descriptor is not None and target.descriptor is not None
        self._overhead = 6 if masked else 2
        """Header bytes of a small frame."""
        self._left = 0  # bytes of the current frame's payload still to come
        self._head = b""  # an incomplete frame header
        self.pending: bytes | None = None
        self.pipe: Pipe | None = None
        self.moved = 0
        self.sealed = False
        """Nothing goes to the target any more: its sending side was shut down or got a close frame."""

    @property
    def at_boundary(self) -> bool:
        return not self._left and not self._head and self.pending is None and self.pipe is None

    def relay(self) -> None:
        """The source can be read: pass on what it has."""
        if self._left or self._head or self.sealed or self._tunnel.closing:
            self._relay_within()
            return
        buffer = self._buffer
        try:
            count = self._receive(buffer)
        except BlockingIOError:
            return
        except OSError:
            self._tunnel.broken(self)
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
            self._tunnel.broken(self)
            return
        self.moved += sent
        if sent != count:
            self._keep(data[sent:])

    def _relay_within(self) -> None:
        """The same where a frame has begun, or the last one has passed."""
        if self.sealed:
            self._discard()
            return
        if self._left >= splice.WORTHWHILE and self._spliced:
            self._splice()
            self._tunnel.at_boundary(self)
            return
        try:
            count = self._receive(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            self._tunnel.broken(self)
            return
        if not count:
            self._ended()
            return
        data = self._buffer[:count]
        if self._left and self._tunnel.closing:
            # A close frame is due behind this frame: who sends without a pause has begun the next one already.
            data = data[: self._left]
        self.follow(data)
        if self.send(data):
            self._tunnel.at_boundary(self)

    def send(self, data: memoryview | bytes) -> bool:
        """Send, or keep what the target does not take at once; False if the target is gone."""
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._tunnel.broken(self)
            return False
        self.moved += sent
        if sent != len(data):
            self._keep(data[sent:])
        return True

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
        try:
            moved = pipe.fill(self.source.sock.fileno(), self._left)
        except BlockingIOError:
            self._tunnel.pipes.give_back(pipe)
            return
        except OSError:
            self._tunnel.pipes.give_back(pipe)
            self._tunnel.broken(self)
            return
        if not moved:
            self._tunnel.pipes.give_back(pipe)
            self._ended()
            return
        self._left -= moved
        self.pipe = pipe
        self._drain_pipe()

    def _drain_pipe(self) -> None:
        assert self.pipe is not None
        try:
            self.moved += self.pipe.drain(self.target.sock.fileno())
        except OSError:
            self._tunnel.broken(self)
            return
        if self.pipe.held:
            self._wait_for_target()
        else:
            self._tunnel.pipes.give_back(self.pipe)
            self.pipe = None

    def _wait_for_target(self) -> None:
        self.source.reader.stop()
        self.target.watch_writable(self._target_ready)

    def _target_ready(self) -> None:
        self.target.unwatch_writable()
        if self.pipe is not None:
            self._drain_pipe()
        elif self.pending is not None:
            data, self.pending = self.pending, None
            self.send(data)
        if self.pending is None and self.pipe is None and not self._tunnel.closed:
            self.source.reader.start(self.relay)
            self._tunnel.at_boundary(self)
            if self.sealed:
                self.target.finish_sending()

    def _ended(self) -> None:
        """EOF behind everything that was sent: pass it on."""
        self.source.reader.stop()
        if not self.sealed:
            self.sealed = True
            self.target.finish_sending()
        self._tunnel.half_closed(self)

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
        self.source.reader.stop()
        self._tunnel.half_closed(self)

    def follow(self, data: memoryview) -> None:
        """Follow the frames that pass, to know where one ends."""
        count = len(data)
        if self._left >= count:
            self._left -= count
            return
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

    def stop(self) -> None:
        self.target.unwatch_writable()
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None


class Tunnel:
    """An upgraded connection; `ended(tunnel, blame, bytes to client, bytes to upstream)` is called once."""

    __slots__ = (
        "_client",
        "_ended",
        "_half_close_timeout",
        "_idle_since",
        "_idle_timeout",
        "_seen",
        "_upstream",
        "buffer",
        "closed",
        "closing",
        "deadline",
        "deadlines",
        "downward",
        "hub",
        "pipes",
        "upward",
    )

    def __init__(
        self,
        hub: Hub,
        deadlines: Deadlines,
        pipes: Pipes,
        buffer: memoryview,
        client: "Side",
        upstream: "Side",
        *,
        idle_timeout: float,
        half_close_timeout: float,
        ended: Callable[["Tunnel", Blame, int, int], None],
    ) -> None:
        self.hub = hub
        self.deadlines = deadlines
        self.pipes = pipes
        self.buffer = buffer
        self._client = client
        self._upstream = upstream
        self._idle_timeout = idle_timeout
        self._half_close_timeout = half_close_timeout
        self._ended = ended
        self.upward = Direction(self, client, upstream, masked=True)
        self.downward = Direction(self, upstream, client, masked=False)
        self.closed = False
        self.closing = 0
        self._seen = 0
        self._idle_since = monotonic()
        self.deadline = self._next_look()

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes to the client and to the upstream so far."""
        return self.downward.moved, self.upward.moved

    def start(self, from_client: bytes, from_upstream: bytes) -> None:
        """Begin with the bytes that each side sent behind its half of the handshake."""
        self.deadlines.streams.add(self)
        for stream, direction in ((self._client, self.upward), (self._upstream, self.downward)):
            stream.deadline = NEVER
            stream.reader.stop()
            stream.reader.start(direction.relay)
        for direction, early in ((self.upward, from_client), (self.downward, from_upstream)):
            if early and not self.closed:
                direction.follow(memoryview(early))
                direction.send(early)

    def _next_look(self) -> float:
        return monotonic() + min(self._idle_timeout, max(1.0, self._idle_timeout / 20))

    def expire(self) -> None:
        """The sweeper's look: silent too long, or did an ending take too long?"""
        if self.closing or self.upward.sealed or self.downward.sealed:
            self.close(Blame.PROXY)
            return
        now = monotonic()
        moved = self.upward.moved + self.downward.moved
        if moved != self._seen:
            self._seen = moved
            self._idle_since = now
        elif now - self._idle_since >= self._idle_timeout:
            self.shut(GOING_AWAY, _CLOSE_PATIENCE)
            return
        self.deadline = self._next_look()

    def shut(self, code: int, patience: float) -> None:
        """Send close frames as soon as each direction is between two frames; end after `patience` seconds."""
        if self.closed or self.closing:
            return
        self.closing = code
        self.deadline = monotonic() + patience
        for direction in (self.downward, self.upward):
            self.at_boundary(direction)

    def at_boundary(self, direction: Direction) -> None:
        """A direction may have come to the end of a frame: the place for a close frame, if one is due."""
        if not self.closing or self.closed or direction.sealed or not direction.at_boundary:
            return
        if not direction.send(close_frame(self.closing, masked=direction.masked)):
            return
        direction.sealed = True
        if direction.pending is None:
            direction.target.finish_sending()
        if not direction.source.reader.active:
            direction.source.reader.start(direction.relay)

    def half_closed(self, direction: Direction) -> None:
        """One side has ended. The other may finish what it is saying."""
        other = self.downward if direction is self.upward else self.upward
        if self.closed:
            return
        if other.sealed and not other.source.reader.active and other.pending is None:
            self.close(Blame.NOBODY)
        elif not self.closing:
            self.deadline = monotonic() + self._half_close_timeout

    def broken(self, direction: Direction) -> None:
        """A side was reset: so is the other, which must not take what it got for the whole."""
        self._client.reset()
        self._upstream.reset()
        self.close(Blame.CLIENT if direction is self.upward else Blame.UPSTREAM)

    def close(self, blame: Blame = Blame.NOBODY) -> None:
        if self.closed:
            return
        self.closed = True
        self.deadlines.streams.discard(self)
        self.upward.stop()
        self.downward.stop()
        self._client.close()
        self._upstream.close()
        self._ended(self, Blame.DRAIN if self.closing else blame, self.downward.moved, self.upward.moved)
