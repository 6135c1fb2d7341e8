"""The last hour in shared memory: every five seconds a row of figures for the whole gateway, each route, and each peer
of a route.

One worker writes for all, the first that lives. It adds up counters that outlive workers, so nothing is missed when
another takes over, and a reload keeps what is there. Readers trust nothing: a row counts once it has its time.

    memory:  times and lengths of rows | series
    series:  name, NUL-padded | counters at the last row | rows of `Figures`
"""

import mmap
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from proxy.observe.cells import PAIR, Cells, cell_name, pair_name
from proxy.observe.exchange_counters import BUCKETS, WIDTH, Sum, Traffic
from proxy.observe.percentile import percentile

PERIOD: Final = 5  # seconds from row to row
ROWS: Final = 720  # an hour
SERIES: Final = 192
WHOLE: Final = "*"
"""The series of all routes together."""


class Figures(NamedTuple):
    """What happened in the seconds of one row."""

    good: int = 0  # requests with 1xx, 2xx or 3xx
    refused: int = 0  # 4xx
    failed: int = 0  # 5xx, or no response
    received: int = 0  # bytes
    sent: int = 0
    p50: int = 0  # microseconds; 0 without requests
    p95: int = 0
    p99: int = 0


_WIDTH = len(Figures._fields)
_LENGTHS = ROWS  # milliseconds, after the times, which are milliseconds since 1970
_SERIES = 2 * ROWS
_NUMBERS = WIDTH + ROWS * _WIDTH
_MILLI = 1000


class Span(NamedTuple):
    """Some rows: when each ended (unix seconds), how long it was (seconds), and the figures of each series."""

    ends: list[float]
    lengths: list[float]
    series: dict[str, list[Figures]]


class History:
    """Made in the master before it forks."""

    def __init__(self, started: float) -> None:
        """`started`: when counting began (unix seconds)."""
        self._started = started
        self._words = memoryview(mmap.mmap(-1, (_SERIES + SERIES * (PAIR + _NUMBERS)) * 8)).cast("q")

    def is_due(self, now: float) -> bool:
        """Whether the row of this moment is not written yet."""
        return int(self._words[_row(now)]) // _MILLI // PERIOD != int(now) // PERIOD

    def write(self, pairs: Mapping[tuple[str, str], Traffic], now: float) -> None:
        """Write a row of what was counted by route and peer until now (unix seconds)."""
        words, row = self._words, _row(now)
        cells = Cells(words, _SERIES, SERIES, _NUMBERS, PAIR)
        counted: dict[int, list[list[int]]] = {}
        for name, numbers in _series(pairs):
            counted.setdefault(cells.find(name), []).append(numbers)
        words[row] = 0
        for at in cells.places():
            now_counted = Traffic(counted.get(at, ())).numbers
            before = words[at : at + WIDTH]
            grown = [max(0, count - last) for count, last in zip(now_counted, before.tolist(), strict=True)]
            before[:] = memoryview(array("q", now_counted))
            start = at + WIDTH + row * _WIDTH
            words[start : start + _WIDTH] = memoryview(array("q", _figures(Traffic([grown]))))
        last = max((time for time in words[:ROWS].tolist() if time < now * _MILLI), default=0) or self._started * _MILLI
        words[_LENGTHS + row] = max(1, int(now * _MILLI - last))
        words[row] = int(now * _MILLI)

    def read(self, since: float, now: float) -> Span:
        """The rows that ended after `since`, and in the hour before `now` (unix seconds); oldest first."""
        words = self._words
        first = max(since, now - ROWS * PERIOD) * _MILLI
        times = words[:ROWS].tolist()
        rows = sorted(
            (row for row in range(ROWS) if first < times[row] <= (now + PERIOD) * _MILLI), key=times.__getitem__
        )
        series = {
            name: [
                Figures(*words[start : start + _WIDTH].tolist())
                for start in (at + WIDTH + row * _WIDTH for row in rows)
            ]
            for name, at in Cells(words, _SERIES, SERIES, _NUMBERS, PAIR).items()
        }
        lengths = [words[_LENGTHS + row] / _MILLI for row in rows]
        return Span([times[row] / _MILLI for row in rows], lengths, series)


def series_name(route: str, peer: str = "") -> str:
    """The series of a route, or of one of its peers."""
    return pair_name(route, peer) if peer else cell_name(route)


def _row(now: float) -> int:
    return int(now) // PERIOD % ROWS


def _series(pairs: Mapping[tuple[str, str], Traffic]) -> Iterator[tuple[str, list[int]]]:
    """Each series and its counters: the whole first, which must never share a cell, then routes, then peers."""
    yield WHOLE, Traffic(traffic.numbers for traffic in pairs.values()).numbers
    for route in dict.fromkeys(route for route, _ in pairs):
        yield series_name(route), Traffic(traffic.numbers for (of, _), traffic in pairs.items() if of == route).numbers
    for (route, peer), traffic in pairs.items():
        if peer:
            yield series_name(route, peer), traffic.numbers


def _figures(grown: Traffic) -> Iterable[int]:
    none, informed, fine, elsewhere, refused, failed = grown.classes
    shares = [percentile(BUCKETS, grown.durations, share) or 0.0 for share in (0.5, 0.95, 0.99)]
    return Figures(
        informed + fine + elsewhere,
        refused,
        failed + none,
        grown.of(Sum.RECEIVED),
        grown.of(Sum.SENT),
        *(int(1e6 * seconds) for seconds in shares),
    )
