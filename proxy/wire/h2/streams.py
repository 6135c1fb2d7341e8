"""The states of a stream (RFC 9113 section 5.1), but for those of push, which is not used here; and all streams.

    OPEN ──its end is sent──► HALF_CLOSED_LOCAL ──its end is received──► CLOSED
      ├──its end is received──► HALF_CLOSED_REMOTE ──its end is sent──► CLOSED
      └──reset by either side, in each of the three──► CLOSED

Only streams that are not closed have an object. Of the others their numbers tell enough: above the latest they are
idle, below it closed. Those that were reset are remembered for a while, since frames that were on their way to them
are no fault of the peer's.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Final

from proxy.wire.h2.windows import ReceiveWindow

_MOST_RESETS: Final = 256
_MOST_GAPS: Final = 16


class State(IntEnum):
    """Which side of a stream may still send."""

    OPEN = 0
    HALF_CLOSED_LOCAL = 1  # our side has ended
    HALF_CLOSED_REMOTE = 2  # the peer's has
    CLOSED = 3


class Cause(IntEnum):
    """What changes the state."""

    END_SENT = 0
    END_RECEIVED = 1
    RESET = 2


OPEN, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, CLOSED = State  # found faster than an attribute of the enumeration
END_SENT, END_RECEIVED, RESET = Cause

TRANSITIONS: Final[Mapping[tuple[State, Cause], State]] = {
    (OPEN, END_SENT): HALF_CLOSED_LOCAL,
    (OPEN, END_RECEIVED): HALF_CLOSED_REMOTE,
    (OPEN, RESET): CLOSED,
    (HALF_CLOSED_LOCAL, END_RECEIVED): CLOSED,
    (HALF_CLOSED_LOCAL, RESET): CLOSED,
    (HALF_CLOSED_REMOTE, END_SENT): CLOSED,
    (HALF_CLOSED_REMOTE, RESET): CLOSED,
}
"""What may happen when; a pair that is missing never does."""


class Stream:
    """One stream as the protocol knows it: its number, state and windows."""

    __slots__ = ("incoming", "number", "state", "window")

    def __init__(self, number: int, state: State, window: int) -> None:
        self.number = number
        self.state = state
        self.window = window
        """Bytes that the peer takes at the moment; below 0 where it has made its windows smaller."""
        self.incoming: ReceiveWindow | None = None
        """What the peer may send; made with the first DATA, since most streams have none."""

    def __repr__(self) -> str:
        return f"<stream {self.number} {self.state.name}>"

    @property
    def writable(self) -> bool:
        """Whether our side may still send."""
        return self.state is OPEN or self.state is HALF_CLOSED_REMOTE

    @property
    def starved(self) -> bool:
        """Whether the peer takes nothing on it."""
        return self.window <= 0 and self.writable

    @property
    def readable(self) -> bool:
        """Whether more may come from the peer."""
        return self.state is OPEN or self.state is HALF_CLOSED_LOCAL


class Ending(Enum):
    """What became of a stream that is closed."""

    RESET = auto()  # by us
    RESET_BY_PEER = auto()
    SKIPPED = auto()  # the peer has opened a later one instead (RFC 9113 section 5.1.1)
    ENDED = auto()


class Streams:
    """The streams of one connection, as the side that does not open them knows them."""

    __slots__ = ("_gaps", "_resets", "highest", "live", "opened")

    def __init__(self) -> None:
        self.live: dict[int, Stream] = {}
        """Those that are not closed, by their numbers."""
        self.highest = 0
        """The latest that the peer has opened."""
        self.opened = 0
        """How many it has opened."""
        self._resets: dict[int, bool] = {}
        """The latest that were reset, and whether the peer has done it."""
        self._gaps: list[tuple[int, int]] = []
        """The numbers that the peer has left out, first and last; the latest of such gaps."""

    def is_idle(self, number: int) -> bool:
        """Whether the peer has not opened this one, nor a later one; those of the other side always are."""
        return number > self.highest or not number & 1

    def count(self, number: int) -> None:
        """The peer opens a stream that is idle."""
        if number > self.highest + 2:
            self._gaps = [*self._gaps[1 - _MOST_GAPS :], (self.highest + 1, number - 1)]
        self.highest = number
        self.opened += 1

    def open(self, number: int, window: int, *, ended: bool) -> Stream:
        """A stream that was counted, whose peer takes `window` bytes; `ended` says that its side is over."""
        stream = self.live[number] = Stream(number, HALF_CLOSED_REMOTE if ended else OPEN, window)
        return stream

    def advance(self, stream: Stream, cause: Cause) -> None:
        """Something has happened that `TRANSITIONS` allows."""
        state = stream.state = TRANSITIONS[stream.state, cause]
        if state is CLOSED:
            del self.live[stream.number]

    def reset(self, stream: Stream, *, by_peer: bool) -> None:
        """A stream that is not closed was reset."""
        self.advance(stream, RESET)
        self.note_reset(stream.number, by_peer=by_peer)

    def note_reset(self, number: int, *, by_peer: bool) -> None:
        """Remember that a stream was reset, be it one that was never open."""
        if len(self._resets) >= _MOST_RESETS:
            del self._resets[next(iter(self._resets))]
        self._resets[number] = by_peer

    def ending(self, number: int) -> Ending:
        """What became of a closed stream, as far as it is remembered."""
        by_peer = self._resets.get(number)
        if by_peer is not None:
            return Ending.RESET_BY_PEER if by_peer else Ending.RESET
        if any(first <= number <= last for first, last in self._gaps):
            return Ending.SKIPPED
        return Ending.ENDED
