"""Both directions of a WebSocket, or another upgraded connection, after its handshake.

No greenlet: each side's read watcher calls the direction's `relay`, which receives into one buffer of the process and
sends from it. A tunnel at rest is two sockets, two watchers and this object. A side that does not take its bytes stops
the other's watcher until it does, so at most one buffer of bytes waits per direction.

Each direction counts frames as they pass (RFC 6455 section 5.2), so that a close frame can be put between two of them
when the gateway stops or the tunnel has been silent too long; inside a frame it would be read as payload. A long frame
is spliced inside the kernel up to its end. Other protocols than WebSocket are not followed: there the two sides get the
ends of their connections alone, and either may have said everything long before the other has.

    OPEN ──EOF of one side──► HALF_CLOSED ──EOF of the other, or silence──► CLOSED
     │  └──stop, silence──► CLOSING (close frames sent at the next boundaries) ──EOFs, or deadline──► CLOSED
     └──reset of either side──► LOST (the other gets what is on its way, and an end) ──EOF, or deadline──► CLOSED

`tunnel_states` has the tables, also that of a direction.
"""

import os
from collections.abc import Callable
from time import monotonic
from typing import Final

from proxy.errors import Blame
from proxy.exchange.keep_alive import KeepAlive, Pings
from proxy.exchange.tunnel_direction import Direction
from proxy.exchange.tunnel_side import Side
from proxy.exchange.tunnel_states import TUNNEL_TRANSITIONS, DirectionState, PingState, TunnelState
from proxy.log import log
from proxy.net.event_loop import NEVER, Deadlines
from proxy.net.splice import Pipes
from proxy.wire.frames import PongFilter, close_frame

BUFFER_SIZE: Final = 1 << 17
GOING_AWAY: Final = 1001
UNEXPECTED: Final = 1011
SERVICE_RESTART: Final = 1012  # registered with IANA after RFC 6455: another process serves from now on

_PING_SIZE: Final = 8
"""Bytes of a ping's payload, which is not to be guessed."""

_DELIVERY_LOOK: Final = 1.0
"""Seconds between two looks at what a side has acknowledged."""

_CLOSE_PATIENCE: Final = 5.0
"""Seconds that both sides have to end the connection after close frames were sent."""


class Tunnel:
    """An upgraded connection; `ended(tunnel, blame, bytes to client, bytes to upstream)` is called once."""

    __slots__ = (
        "_client",
        "_close_code",
        "_close_reason",
        "_ended",
        "_framed",
        "_half_close_timeout",
        "_idle_since",
        "_idle_timeout",
        "_keep_alives",
        "_longest_look",
        "_lost",
        "_reset_at",
        "_seen",
        "_unanswering",
        "_upstream",
        "buffer",
        "deadline",
        "deadlines",
        "downward",
        "pipes",
        "state",
        "upward",
    )

    def __init__(
        self,
        deadlines: Deadlines,
        pipes: Pipes,
        buffer: memoryview,
        client: Side,
        upstream: Side,
        *,
        framed: bool,
        pings: Pings | None,
        idle_timeout: float,
        half_close_timeout: float,
        ended: Callable[["Tunnel", Blame, int, int], None],
    ) -> None:
        """`framed`: the protocol is WebSocket, on which `pings` can be sent."""
        self.deadlines = deadlines
        self.pipes = pipes
        self.buffer = buffer
        self._client = client
        self._upstream = upstream
        self._idle_timeout = idle_timeout
        self._half_close_timeout = half_close_timeout if framed else idle_timeout
        self._ended = ended
        payload = os.urandom(_PING_SIZE) if pings is not None else b""
        above, below = (PongFilter(payload, masked=masked) if payload else None for masked in (True, False))
        self.upward = Direction(self, client, upstream, masked=True, framed=framed, pongs=above)
        self.downward = Direction(self, upstream, client, masked=False, framed=framed, pongs=below)
        self._keep_alives: tuple[KeepAlive, ...] = ()
        self._longest_look = NEVER
        if pings is not None:
            self._longest_look = max(1.0, min(pings.interval, pings.timeout) / 4)
            self._keep_alives = self._begin_pings(pings, payload)
        self.state = TunnelState.OPEN
        self._close_code = 0
        """Of the close frames that are due or sent; 0: none."""
        self._close_reason = b""
        self._lost: Side | None = None
        """The side that was reset."""
        self._framed = framed
        self._reset_at = 0.0
        """When the other is reset, whatever it has got, where there are no frames."""
        self._unanswering: Side | None = None
        """The side that has not answered a ping."""
        self._seen = 0
        self._idle_since = monotonic()
        self.deadline = self._next_look(idle_timeout)

    def __str__(self) -> str:
        return f"tunnel {self.state.name}, {self.moved[0]} bytes to the client, {self.moved[1]} to the upstream"

    def _become(self, state: TunnelState) -> None:
        assert state in TUNNEL_TRANSITIONS[self.state], (self, state)
        self.state = state
        log.debug("%s", self)

    @property
    def closed(self) -> bool:
        return self.state is TunnelState.CLOSED

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes to the client and to the upstream so far."""
        return self.downward.moved, self.upward.moved

    def start(self, from_client: bytes, from_upstream: bytes) -> None:
        """Begin with the bytes that each side sent behind its half of the handshake."""
        self.deadlines.streams.add(self)
        for stream, direction in ((self._client, self.upward), (self._upstream, self.downward)):
            stream.deadline = NEVER
            stream.watch_readable(direction.on_readable)
        for direction, early in ((self.upward, from_client), (self.downward, from_upstream)):
            if early and not self.closed:
                direction.send(direction.follow(memoryview(early)))

    def _next_look(self, patience: float) -> float:
        return monotonic() + min(patience, self._longest_look, max(1.0, patience / 20))

    def _begin_pings(self, pings: Pings, payload: bytes) -> tuple[KeepAlive, ...]:
        now = monotonic()
        to_client = KeepAlive(self.upward, self.downward, pings, payload, now)
        to_upstream = KeepAlive(self.downward, self.upward, pings, payload, now)
        return (*((to_client,) if pings.client else ()), *((to_upstream,) if pings.upstream else ()))

    def expire(self) -> None:
        """The sweeper's look: silent too long, or did an ending take too long?"""
        if self.state is TunnelState.OPEN:
            patience = self._idle_timeout
        elif self.state is TunnelState.HALF_CLOSED:
            patience = self._half_close_timeout
        elif self.state is TunnelState.LOST and not self._close_code and monotonic() < self._reset_at:
            self._cut_off(self._upstream if self._lost is self._client else self._client)
            return
        else:
            self.close(Blame.PROXY)
            return
        now = monotonic()
        passed = self.upward.passed + self.downward.passed
        if passed > self._seen:
            self._seen = passed
            self._idle_since = now
        elif now - self._idle_since >= patience:
            if self.state is TunnelState.OPEN:
                self.shut(GOING_AWAY, _CLOSE_PATIENCE)
            else:
                self.close(Blame.PROXY)
            return
        self.deadline = self._next_look(patience)
        if self.state is TunnelState.OPEN:
            self._look_for_answers(now)

    def _look_for_answers(self, now: float) -> None:
        """End the tunnel if one side does not answer pings."""
        for keep_alive in self._keep_alives:
            keep_alive.look(now)
            if keep_alive.state is PingState.UNANSWERED:
                self._unanswering = keep_alive.side
                self.shut(UNEXPECTED, _CLOSE_PATIENCE, b"no answer to a ping")
                return

    def shut(self, code: int, patience: float, reason: bytes = b"") -> None:
        """Send close frames as soon as each direction is between two frames; end after `patience` seconds.

        Without frames both sides get the end of what the other one has sent.
        """
        if self._close_code or self.closed:
            return
        self._close_code = code
        self._close_reason = reason
        self.deadline = monotonic() + patience
        if self.state is not TunnelState.LOST:
            self._become(TunnelState.CLOSING)
            for direction in (self.downward, self.upward):
                self.on_boundary(direction)

    def on_boundary(self, direction: Direction) -> None:
        """A direction may have come to the end of a frame: the place for a ping or a close frame, if one is due."""
        for keep_alive in self._keep_alives:
            if keep_alive.outgoing is direction:
                keep_alive.on_boundary()
        due = self.state is TunnelState.CLOSING and direction.state is DirectionState.RELAYING
        if not due or not direction.at_boundary:
            return
        if direction.framed:
            frame = close_frame(self._close_code, self._close_reason, masked=direction.masked)
            if not direction.send(frame):
                return
        direction.become(DirectionState.SEALED)
        if direction.delivered:
            direction.target.finish_sending()
        if not direction.source.watched:
            direction.source.watch_readable(direction.on_readable)

    def on_ended(self, direction: Direction) -> None:
        """One side has ended. The other may finish sending."""
        other = self.downward if direction is self.upward else self.upward
        if self.closed:
            return
        if other.state is DirectionState.ENDED and other.delivered:
            self.close(Blame.NOBODY)
            return
        if self.state is TunnelState.OPEN:
            self._become(TunnelState.HALF_CLOSED)
        if not self._close_code:
            self._idle_since = monotonic()
            self.deadline = self._next_look(self._half_close_timeout)

    def on_delivered(self, direction: Direction) -> None:
        """The target has taken what waited for it."""
        if self.state is TunnelState.LOST:
            self._cut_off(direction.target)
            return
        direction.source.watch_readable(direction.on_readable)
        self.on_boundary(direction)
        if direction.state is not DirectionState.RELAYING:
            direction.target.finish_sending()

    def on_reset(self, side: Side) -> None:
        """A side was reset: the other gets what is on its way, and must not take it for the whole."""
        if self.closed:
            return
        if self.state is TunnelState.LOST:
            self.close()
            return
        self._lost = side
        self._become(TunnelState.LOST)
        last, useless = (self.upward, self.downward) if side is self._client else (self.downward, self.upward)
        side.unwatch_readable()
        useless.stop()
        if last.state is not DirectionState.ENDED:
            last.become(DirectionState.ENDED)
        if useless.state is DirectionState.RELAYING:
            useless.become(DirectionState.SEALED)
        self.deadline = monotonic() + self._half_close_timeout
        if not self._framed:
            self._reset_at = self.deadline
        if last.delivered:
            self._cut_off(last.target)

    def _cut_off(self, side: Side) -> None:
        """End the side that is left, once it has everything, and wait for it to see that.

        Where no frame shows that something is missing, only a reset does, which is not to overtake what was sent.
        """
        if not self._framed:
            if side.undelivered and monotonic() < self._reset_at:
                self.deadline = monotonic() + _DELIVERY_LOOK
            else:
                side.reset()
                self.close()
        elif side.cut_off():
            side.watch_readable((self.upward if side is self._client else self.downward).on_readable)
        else:
            self.close()

    def close(self, blame: Blame = Blame.NOBODY) -> None:
        if self.closed:
            return
        if self._unanswering is not None:
            blame = Blame.CLIENT_SLOW if self._unanswering is self._client else Blame.UPSTREAM_SLOW
        elif self._close_code:
            blame = Blame.DRAIN
        elif self._lost is not None:
            blame = Blame.CLIENT if self._lost is self._client else Blame.UPSTREAM
        self._become(TunnelState.CLOSED)
        self.deadlines.streams.discard(self)
        self.upward.stop()
        self.downward.stop()
        self._client.close()
        self._upstream.close()
        self._ended(self, blame, self.downward.moved, self.upward.moved)
        self.upward.release()
        self.downward.release()
