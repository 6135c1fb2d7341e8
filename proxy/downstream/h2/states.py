"""The states of an HTTP/2 connection and of a stream as its exchange sees it, and what may follow what.

These are about requests and responses. Which side may still send frames is another matter: `proxy.wire.h2.streams`.
"""

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Final


class ConnectionState(IntEnum):
    """How far a connection has come. What is queued is sent in every one of them."""

    OPEN = auto()  # new streams are taken
    LEAVING = auto()  # the client was told to open no more, and those that were on their way are taken
    REFUSING = auto()  # new streams are refused; it ends when none is left
    ENDED = auto()  # the last GOAWAY is queued; nothing is acted upon any more
    LINGERING = auto()  # all was sent, our side is closed; what still comes is read away for a moment
    LEFT = auto()  # the client's end has come; it is closed when all was sent


_OPEN, _LEAVING, _REFUSING, _ENDED, _LINGERING, _LEFT = ConnectionState

CONNECTION_TRANSITIONS: Final[Mapping[ConnectionState, frozenset[ConnectionState]]] = {
    _OPEN: frozenset({_LEAVING, _REFUSING, _ENDED, _LEFT}),
    _LEAVING: frozenset({_REFUSING, _ENDED, _LEFT}),
    _REFUSING: frozenset({_ENDED, _LEFT}),
    _ENDED: frozenset({_LINGERING, _LEFT}),
    _LINGERING: frozenset(),
    _LEFT: frozenset(),
}
"""In any state the connection may be lost or closed, which is no state but the end of the object."""


class StreamState(IntEnum):
    """How far the request on a stream has come."""

    EXCHANGE = auto()  # it is answered, by the loop's callbacks or in a greenlet
    TUNNEL = auto()  # a WebSocket or the like since it was
    LINGERING = auto()  # it was answered before its end: the client may go on with it for a moment
    GONE = auto()  # its client is; the exchange learns of it, and ends
    CLOSED = auto()  # forgotten by its connection


_EXCHANGE, _TUNNEL, _LINGER, _GONE, _CLOSED = StreamState

STREAM_TRANSITIONS: Final[Mapping[StreamState, frozenset[StreamState]]] = {
    _EXCHANGE: frozenset({_TUNNEL, _LINGER, _GONE, _CLOSED}),
    _TUNNEL: frozenset({_GONE, _CLOSED}),
    _LINGER: frozenset({_GONE, _CLOSED}),
    _GONE: frozenset({_CLOSED}),
    _CLOSED: frozenset(),
}
