"""Pings of the gateway's own to one side of a WebSocket that has been silent (RFC 6455 section 5.5.2).

    QUIET ──nothing from the side for `interval`──► DUE ──the other side is between two messages──► ASKED
      ▲  └──a ping of the other side has passed──────┼────────────────────────────────────────────►  │
      └────── anything from the side ────────────────┴────────────────────────────────────────────── │
                                                     └──── nothing for `timeout` ─► UNANSWERED ◄─────┘

Any byte is an answer: a pong comes behind what the side was sending. While the gateway itself does not read, because
the other side takes nothing, there is nothing to judge. `proxy.wire.frames.PongFilter` takes out the pongs.
"""

from typing import NamedTuple

from proxy.exchange.tunnel_direction import Direction
from proxy.exchange.tunnel_side import Side
from proxy.exchange.tunnel_states import PING_TRANSITIONS, DirectionState, PingState
from proxy.settings import Settings
from proxy.wire.frames import ping_frame

QUIET, DUE, ASKED, UNANSWERED = PingState


class Pings(NamedTuple):
    """How a WebSocket is kept alive: the sides that are asked, and when; `interval` and `timeout` in seconds."""

    interval: float
    timeout: float
    client: bool
    upstream: bool

    @classmethod
    def of(cls, settings: Settings) -> "Pings | None":
        """None where no pings are sent."""
        if not settings.websocket_ping:
            return None
        to = settings.websocket_ping_to
        return cls(settings.websocket_ping, settings.websocket_ping_timeout, to != "upstream", to != "client")


class KeepAlive:
    """The pings to the source of `incoming`, which go out in the other direction. Moments are monotonic seconds."""

    __slots__ = (
        "_asked",
        "_heard",
        "_incoming",
        "_passed",
        "_payload",
        "_pings",
        "_since",
        "_told",
        "outgoing",
        "state",
    )

    def __init__(self, incoming: Direction, outgoing: Direction, pings: Pings, payload: bytes, now: float) -> None:
        """`payload` is that of the pings."""
        self._incoming = incoming
        self.outgoing = outgoing
        self._pings = pings
        self._payload = payload
        self.state: PingState = QUIET
        self._since = now
        """When something from the side was noticed."""
        self._heard = 0
        self._asked = now
        """When it was to be asked."""
        self._passed = 0
        """What had gone its way then."""
        self._told = 0

    @property
    def side(self) -> Side:
        return self.outgoing.target

    def _become(self, state: PingState) -> None:
        assert state in PING_TRANSITIONS[self.state], (self.state, state)
        self.state = state

    def look(self, now: float) -> None:
        """Ask the side if it is time, and judge it if it was asked."""
        heard = self._incoming.heard
        if heard > self._heard or not self._incoming.delivered:
            self._heard = max(heard, self._heard)
            self._since = now
            if self.state is not QUIET:
                self._become(QUIET)
        elif self.state is QUIET:
            self._ask_if_silent(now)
        elif self.state is DUE:
            self._ask_at_last(now)
        elif self.state is ASKED and now - self._asked >= self._pings.timeout:
            self._become(UNANSWERED)

    def _ask_if_silent(self, now: float) -> None:
        told, self._told = self._told, self.outgoing.pings_passed
        self._asked = now
        if told != self._told:
            self._become(ASKED)  # by the other side
        elif now - self._since >= self._pings.interval:
            self._passed = self.outgoing.moved
            self._become(DUE)
            self.on_boundary()

    def _ask_at_last(self, now: float) -> None:
        """Where a message to the side has not come to its end, which is in vain if the side takes nothing of it."""
        if self.outgoing.moved != self._passed:
            self._passed = self.outgoing.moved
            self._asked = now
        self.on_boundary()
        if self.state is DUE and not self.outgoing.delivered and now - self._asked >= self._pings.timeout:
            self._become(UNANSWERED)

    def on_boundary(self) -> None:
        """The other side may be between two messages: the place for a ping, if one is due."""
        outgoing = self.outgoing
        if self.state is not DUE or not outgoing.between_messages or outgoing.state is not DirectionState.RELAYING:
            return
        if outgoing.insert(ping_frame(self._payload, masked=outgoing.masked)):
            self._become(ASKED)
