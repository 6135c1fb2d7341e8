"""The states of an HTTP/1 connection, and what may follow what."""

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Final


class State(IntEnum):
    """Where a client's connection stands."""

    IDLE = 0  # between two requests, or before the first: no greenlet, just a read watcher
    READING = auto()  # a greenlet reads the head of a request
    SERVING = auto()  # an exchange is under way
    HALF_CLOSED = auto()  # the same, and the client sends nothing more
    LINGERING = auto()  # the last response was sent; what the client still sends is read away
    TUNNEL = auto()  # no more HTTP: the tunnel has the socket
    CLOSED = auto()


# Found faster than attributes of the enumeration; the compiler knows them only one by one.
IDLE: Final[State] = State.IDLE
READING: Final[State] = State.READING
SERVING: Final[State] = State.SERVING
HALF_CLOSED: Final[State] = State.HALF_CLOSED
LINGERING: Final[State] = State.LINGERING
TUNNEL: Final[State] = State.TUNNEL
CLOSED: Final[State] = State.CLOSED

TRANSITIONS: Mapping[State, frozenset[State]] = {
    IDLE: frozenset({READING, SERVING, CLOSED}),
    READING: frozenset({SERVING, LINGERING, CLOSED}),
    SERVING: frozenset({IDLE, READING, HALF_CLOSED, LINGERING, TUNNEL, CLOSED}),
    HALF_CLOSED: frozenset({READING, LINGERING, TUNNEL, CLOSED}),
    LINGERING: frozenset({CLOSED}),
    TUNNEL: frozenset({CLOSED}),
    CLOSED: frozenset(),
}


def check(before: State, after: State) -> None:
    """Assert that one may follow the other."""
    assert after in TRANSITIONS[before], f"{before.name} to {after.name}"
