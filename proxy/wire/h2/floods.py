"""Frames that cost a peer nothing and the gateway much, counted (RFC 9113 section 10.5).

Every bound is far above what clients do that mean well; one that passes it gets ENHANCE_YOUR_CALM, and its connection
ends.
"""

from collections.abc import Callable
from typing import Final

from proxy.wire.h2 import frames
from proxy.wire.h2.faults import ConnectionFault, ErrorCode

_PERIOD: Final = 10.0
"""Seconds in which frames are counted."""

MOST_RESETS: Final = 1000
RESETS_A_SECOND: Final = 100
"""Requests that a client may have reset, at once and in the long run, by itself or by what it makes the gateway do.

Pages reach hundreds: maps that are moved, videos that are searched, requests that a script aborts. A request that is
reset costs no more than one that is answered, and those are not counted.
"""

_MOST: Final[dict[int, int]] = {
    frames.PRIORITY: 1000,
    frames.SETTINGS: 100,
    frames.PING: 200,
    frames.WINDOW_UPDATE: 2000,
    frames.GOAWAY: 10,
}
"""Frames of a type that a peer may send in a period."""

_EARNED: Final = frozenset({frames.WINDOW_UPDATE, frames.PING})
"""May be more where bodies are sent: each piece is acknowledged, and some clients measure the line by PING."""

_MOST_EMPTY: Final = 100
_MOST_UNKNOWN: Final = 500
_UNKNOWN_A_REQUEST: Final = 4
"""PRIORITY_UPDATE (RFC 9218 section 7.1) is one of them: browsers send it for what comes into view."""

_CREDIT_SHIFT: Final = 9


class Floods:
    """What one peer has sent of such frames. `clock` is monotonic, in seconds.

    Each method but `sent` and `look` raises `ConnectionFault` where it is too much.
    """

    __slots__ = ("_began", "_clock", "_counts", "_credit", "_empty", "_opened", "_resets_until", "_unknown")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._resets_until = 0.0  # when all resets so far have been earned at their rate
        self._began = clock()
        self._counts: dict[int, int] = {}
        self._empty = 0
        self._unknown = 0
        self._opened = 0  # streams, before the period began
        self._credit = 0

    def look(self, opened: int) -> None:
        """Begin a new period when the last is over, before frames are counted; `opened` streams in all so far."""
        now = self._clock()
        if now - self._began > _PERIOD:
            self._began = now
            self._counts.clear()
            self._empty = self._unknown = self._credit = 0
            self._opened = opened

    def sent(self, count: int) -> None:
        """A piece of a body, `count` bytes, goes to the peer, which may give its room back twice over."""
        self._credit += 2 + (count >> _CREDIT_SHIFT)

    def reset(self) -> None:
        """A reset by the peer, or by the gateway for what the peer did, which costs as much."""
        now = self._clock()
        self._resets_until = max(self._resets_until, now) + 1 / RESETS_A_SECOND
        if (self._resets_until - now) * RESETS_A_SECOND > MOST_RESETS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams were reset")

    def frame(self, kind: int) -> None:
        """A frame of one of the types that have a bound of their own."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        most = _MOST[kind]
        if kind in _EARNED:
            most += self._credit
        bound(count, most, frames.NAMES[kind])

    def empty_data(self) -> None:
        """DATA without a byte and without an end."""
        self._empty += 1
        bound(self._empty, _MOST_EMPTY, "empty DATA")

    def unknown(self, opened: int) -> None:
        """A frame of an unknown type; it may belong to one of the streams that were `opened` in all."""
        self._unknown += 1
        bound(self._unknown, _MOST_UNKNOWN + _UNKNOWN_A_REQUEST * (opened - self._opened), "unknown")


def bound(count: int, most: int, name: str) -> None:
    """Raises `ConnectionFault` where a peer has sent more frames of a kind than it may."""
    if count > most:
        raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {name} frames")
