"""The states of a tunnel, of each of its two directions and of the pings to a side, and what may follow what."""

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Final


class TunnelState(IntEnum):
    """How far a tunnel has come."""

    OPEN = auto()  # bytes go both ways
    HALF_CLOSED = auto()  # one side has ended, the other may finish
    CLOSING = auto()  # close frames go between two frames, then both sides are to end
    LOST = auto()  # one side was reset: the other gets what is on its way
    CLOSED = auto()


_OPEN, _HALF_CLOSED, _CLOSING, _LOST, _CLOSED = TunnelState

TUNNEL_TRANSITIONS: Final[Mapping[TunnelState, frozenset[TunnelState]]] = {
    _OPEN: frozenset({_HALF_CLOSED, _CLOSING, _LOST, _CLOSED}),
    _HALF_CLOSED: frozenset({_CLOSING, _LOST, _CLOSED}),
    _CLOSING: frozenset({_LOST, _CLOSED}),
    _LOST: frozenset({_CLOSED}),
    _CLOSED: frozenset(),
}


class DirectionState(IntEnum):
    """How far the bytes of one direction have come."""

    RELAYING = auto()  # what the source sends goes to the target
    SEALED = auto()  # nothing more goes to the target; the source is read only to see its end
    ENDED = auto()  # the source has ended too


class PingState(IntEnum):
    """Whether a side of a WebSocket is there (`proxy.exchange.keep_alive`)."""

    QUIET = auto()  # heard of lately
    DUE = auto()  # it is to be asked, once a message to it has ended
    ASKED = auto()
    UNANSWERED = auto()


_QUIET, _DUE, _ASKED, _UNANSWERED = PingState

PING_TRANSITIONS: Final[Mapping[PingState, frozenset[PingState]]] = {
    _QUIET: frozenset({_DUE, _ASKED}),
    _DUE: frozenset({_QUIET, _ASKED, _UNANSWERED}),
    _ASKED: frozenset({_QUIET, _UNANSWERED}),
    _UNANSWERED: frozenset(),
}

_RELAYING, _SEALED, _ENDED = DirectionState

DIRECTION_TRANSITIONS: Final[Mapping[DirectionState, frozenset[DirectionState]]] = {
    _RELAYING: frozenset({_SEALED, _ENDED}),
    _SEALED: frozenset({_ENDED}),
    _ENDED: frozenset(),
}
