"""The states of an exchange, what may follow what, and what an exchange waits for."""

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Final

from proxy.errors import Phase


class State(IntEnum):
    """Where an exchange stands: which step is next."""

    ADMIT = 0  # the filters of its route
    BODY = auto()  # the request's body, read from the client
    LOOKUP = auto()  # in the route's cache
    LEASE = auto()  # a connection to the upstream
    SEND = auto()  # the request
    AWAIT = auto()  # the head of the final response
    RELAY = auto()  # the response
    LOCAL = auto()  # a response of the gateway's own, as the settings say
    REFUSE = auto()  # an error response
    DELIVER = auto()  # the rest of a response that is here already
    TUNNEL = auto()  # both directions, after a 101
    DONE = auto()  # recorded


# Found faster than attributes of the enumeration; the compiler knows them only one by one.
ADMIT: Final[State] = State.ADMIT
BODY: Final[State] = State.BODY
LOOKUP: Final[State] = State.LOOKUP
LEASE: Final[State] = State.LEASE
SEND: Final[State] = State.SEND
AWAIT: Final[State] = State.AWAIT
RELAY: Final[State] = State.RELAY
LOCAL: Final[State] = State.LOCAL
REFUSE: Final[State] = State.REFUSE
DELIVER: Final[State] = State.DELIVER
TUNNEL: Final[State] = State.TUNNEL
DONE: Final[State] = State.DONE

TRANSITIONS: Mapping[State, frozenset[State]] = {
    ADMIT: frozenset({BODY, LOOKUP, LEASE, LOCAL, REFUSE, DONE}),
    BODY: frozenset({LOOKUP, LEASE, LOCAL, REFUSE, DONE}),
    LOOKUP: frozenset({LEASE, LOCAL, REFUSE, DONE}),
    LEASE: frozenset({SEND, AWAIT, LOCAL, REFUSE, DONE}),  # to LOCAL, here and below: stored, in an error's place
    SEND: frozenset({AWAIT, LEASE, LOCAL, REFUSE, DONE}),
    AWAIT: frozenset({RELAY, LEASE, LOCAL, TUNNEL, REFUSE, DONE}),
    RELAY: frozenset({LEASE, LOCAL, DELIVER, REFUSE, DONE}),  # to LOCAL: a file or a stored response in its place
    LOCAL: frozenset({DELIVER, REFUSE, DONE}),
    REFUSE: frozenset({DELIVER, DONE}),
    DELIVER: frozenset({DONE}),
    TUNNEL: frozenset({DONE}),
    DONE: frozenset({ADMIT}),  # the object serves the next request of the same connection
}
"""What may follow what; tests check it for every exchange."""

PHASES: Mapping[State, Phase] = {
    ADMIT: Phase.HEAD,
    BODY: Phase.BODY,
    LOOKUP: Phase.HEAD,
    LEASE: Phase.QUEUE,
    SEND: Phase.REQUEST,
    AWAIT: Phase.RESPONSE,
    RELAY: Phase.DATA,
    LOCAL: Phase.DATA,
    REFUSE: Phase.DATA,
    DELIVER: Phase.DATA,
    TUNNEL: Phase.TUNNEL,
    DONE: Phase.DONE,
}
"""How the access log names where an exchange failed."""


class Wait(Enum):
    """What an exchange waits for when it cannot go on in the event loop's callbacks."""

    NOTHING = auto()  # it is over, or left to a tunnel
    RESPONSE = auto()  # the upstream, which wakes it
    STACK = auto()  # a greenlet


OVER: Final[Wait] = Wait.NOTHING
AWAIT_RESPONSE: Final[Wait] = Wait.RESPONSE
NEED_STACK: Final[Wait] = Wait.STACK
