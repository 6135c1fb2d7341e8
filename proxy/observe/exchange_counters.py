"""What the exchanges of one route with one peer came to: a flat cell of numbers in a worker's slot.

An exchange is counted once, in the cell of its route and of the peer that it was last sent to; the peer is empty where
the gateway itself responded. Totals by route, by peer and of the whole gateway are sums of cells, so that counting by
route costs a request no more than counting it at all.

    numbers:  `Sum` | requests by method and status class | durations
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Final

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")
CLASSES = 6  # status classes; 0 is an exchange that ended without a status
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
BUCKETS: Final[Sequence[float]] = _BOUNDS
_LOOKED_UP: Final = 1_000_000  # microseconds; longer durations are searched for
_BUCKET_OF: Final = bytes(bisect_left(BUCKETS, half / 2000) for half in range(_LOOKED_UP // 500 + 1))  # by half ms
UNROUTED: Final = "unrouted"
"""Stands for the route of requests that no route takes."""


class Sum(IntEnum):
    """The first numbers of a cell."""

    DURATION = 0  # microseconds
    RECEIVED = 1  # bytes from clients
    SENT = 2  # bytes to clients
    RETRIES = 3


_REQUESTS: Final = len(Sum)
_DURATIONS: Final = _REQUESTS + (len(METHODS) + 1) * CLASSES
WIDTH: Final = _DURATIONS + len(BUCKETS) + 1
_METHOD_BASE: Final = {method: _REQUESTS + row * CLASSES for row, method in enumerate(METHODS)}
_OTHER_BASE: Final = _REQUESTS + len(METHODS) * CLASSES


class ExchangeCounters:
    """The numbers of one cell. Only its worker writes them: it keeps them at hand, and writes without reading first."""

    __slots__ = ("_counted", "_words")

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._counted: list[int] = words.tolist()

    def exchange(self, method: bytes, status: int, seconds: float, received: int, sent: int) -> None:
        """Count a finished exchange; `status` is 0 if none was sent. Bytes are those on the connection."""
        words, counted = self._words, self._counted
        micros = int(seconds * 1e6)
        at = _METHOD_BASE.get(method, _OTHER_BASE) + status // 100
        words[at] = counted[at] = counted[at] + 1
        bucket = _BUCKET_OF[(micros + 499) // 500] if micros <= _LOOKED_UP else bisect_left(BUCKETS, seconds)
        at = _DURATIONS + bucket
        words[at] = counted[at] = counted[at] + 1
        words[0] = counted[0] = counted[0] + micros
        words[1] = counted[1] = counted[1] + received
        words[2] = counted[2] = counted[2] + sent

    def join(self, other: "ExchangeCounters") -> None:
        """Count in the cell of the other from now on: one's own is another's."""
        self._words, self._counted = other._words, other._counted

    def retry(self) -> None:
        """Count a request that is sent once more."""
        self._words[3] = self._counted[3] = self._counted[3] + 1


class RouteCounters(dict[str, ExchangeCounters]):
    """The counters of a route by peer, made when the first exchange with it ends."""

    __slots__ = ("_made",)

    def __init__(self, made: Callable[[str], ExchangeCounters]) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, peer: str) -> ExchangeCounters:
        counters = self[peer] = self._made(peer)
        return counters


def uncounted() -> RouteCounters:
    """For a route whose requests are left out of all figures: counters that nothing reads."""
    private = ExchangeCounters(memoryview(bytearray(WIDTH * 8)).cast("q"))
    return RouteCounters(lambda _peer: private)


class Traffic:
    """The sum of some cells, for reading."""

    __slots__ = ("numbers",)

    def __init__(self, cells: Iterable[Sequence[int]] = ()) -> None:
        self.numbers: list[int] = [sum(column) for column in zip(*cells, strict=True)] or [0] * WIDTH

    def of(self, which: Sum) -> int:
        return self.numbers[which]

    @property
    def requests(self) -> int:
        return sum(self.durations)

    @property
    def durations(self) -> list[int]:
        """Requests per bucket; the last is beyond all bounds."""
        return self.numbers[_DURATIONS:]

    @property
    def classes(self) -> list[int]:
        """Requests by status class."""
        return [sum(self.numbers[_REQUESTS + one : _DURATIONS : CLASSES]) for one in range(CLASSES)]

    def by_method(self) -> list[tuple[str, int, int]]:
        """Method, status class and number of requests."""
        return [
            (method.decode(), one, self.numbers[_REQUESTS + row * CLASSES + one])
            for row, method in enumerate((*METHODS, b"other"))
            for one in range(CLASSES)
        ]
