"""The last hour in shared memory: every five seconds a row of figures for the whole gateway, each route, and each peer
of a route.

One worker writes for all, the first that lives. It adds up counters that outlive workers, so nothing is missed when
another takes over, and a reload keeps what is there. Readers trust nothing: a row counts once it has its time.

    memory:  times and lengths of rows | series
    series:  name, NUL-padded | time of its last request | counters at the last row | rows of `Figures`

Routes and peers come and go. When all series are taken, a new one gets the place of that without requests for longest.
"""

import mmap
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from proxy.observe.cells import OTHER, PAIR, Cells, cell_name, pair_name
from proxy.observe.exchange_counters import BUCKETS, WIDTH, Sum, Traffic
from proxy.observe.percentile import percentile

PERIOD: Final = 5  # seconds from row to row
ROWS: Final = 720  # an hour
SERIES: Final = 192
QUIET: Final = 60.0  # seconds without requests after which a series may be given up
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
_COUNTED = 1  # in a series, after the time
_ROWS = _COUNTED + WIDTH
_NUMBERS = _ROWS + ROWS * _WIDTH
_MILLI = 1000


LAYOUT: Final = (PERIOD, ROWS, SERIES, PAIR, WIDTH, BUCKETS, Figures._fields)
"""What the memory looks like: of another one nothing can be taken over."""


class Span(NamedTuple):
    """Some rows: when each ended (unix seconds), how long it was (seconds), and the figures of each series."""

    ends: list[float]
    lengths: list[float]
    series: dict[str, list[Figures]]


class History:
    """Made in the master before it forks."""

    def __init__(self, started: float, words: memoryview | None = None) -> None:
        """`started`: when counting began (unix seconds); `words`: zeroed memory, without it made here."""
        self._started = started
        self._words = memoryview(mmap.mmap(-1, History.words() * 8)).cast("q") if words is None else words
        self._counted: dict[str, list[int]] = {}
        """What this process found when it wrote the last row, of all series."""
        self._wrote = 0

    @staticmethod
    def words() -> int:
        """8-byte words of memory that it takes."""
        return _SERIES + SERIES * (PAIR + _NUMBERS)

    def go_on(self, before: memoryview) -> None:
        """Take over the rows of another gateway, whose counters have nothing to do with those of this one."""
        words = self._words
        words[:_SERIES] = before[:_SERIES]
        for at in Cells(before, _SERIES, SERIES, _NUMBERS, PAIR).places():
            words[at - PAIR : at + _COUNTED] = before[at - PAIR : at + _COUNTED]
            words[at + _ROWS : at + _NUMBERS] = before[at + _ROWS : at + _NUMBERS]

    def is_due(self, now: float) -> bool:
        """Whether the row of this moment is not written yet."""
        return int(self._words[_row(now)]) // _MILLI // PERIOD != int(now) // PERIOD

    def write(self, pairs: Mapping[tuple[str, str], Traffic], now: float) -> None:
        """Write a row of what was counted by route and peer until now (unix seconds)."""
        words, row = self._words, _row(now)
        cells = Cells(words, _SERIES, SERIES, _NUMBERS, PAIR)
        names = dict(_series(pairs))
        last = max((time for time in words[:ROWS].tolist() if time < now * _MILLI), default=0)
        if last != self._wrote:  # another process has written since
            self._counted = {}
        uncertain = cells.full and not self._counted
        grown: dict[int, list[list[int]]] = {}
        for name, numbers in names.items():
            before = self._before(cells, name) or (numbers if uncertain else [0] * WIDTH)
            growth = [max(0, count - last) for count, last in zip(numbers, before, strict=True)]
            at = self._place(cells, name, now, active=any(growth))
            grown.setdefault(at, []).append(growth)
        self._counted = names
        words[row] = 0
        for name, at in cells.items():
            if name in names:
                words[at + _COUNTED : at + _ROWS] = memoryview(array("q", names[name]))
            start = at + _ROWS + row * _WIDTH
            words[start : start + _WIDTH] = memoryview(array("q", _figures(Traffic(grown.get(at, ())))))
        words[_LENGTHS + row] = max(1, int(now * _MILLI - (last or self._started * _MILLI)))
        self._wrote = words[row] = int(now * _MILLI)

    def _before(self, cells: Cells, name: str) -> list[int] | None:
        """What was counted until the last row; None where it is not known, or there is none."""
        if cells.knows(name):
            at = cells.find(name) + _COUNTED
            return self._words[at : at + WIDTH].tolist()
        return self._counted.get(name)

    def _place(self, cells: Cells, name: str, now: float, *, active: bool) -> int:
        """Where the series of this name is: its own, one that is given up for it, or that of all others."""
        at, moment = 0, int(now * _MILLI)
        if active and cells.full and not cells.knows(name):
            last, quiet = min((self._words[at], name) for name, at in cells.items() if name not in (WHOLE, OTHER))
            if last < moment - QUIET * _MILLI:
                at = cells.rename(quiet, name)
        at = at or cells.find(name)
        if active or not self._words[at]:
            self._words[at] = moment
        return at

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
                for start in (at + _ROWS + row * _WIDTH for row in rows)
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
    for route in dict.fromkeys(route for route, _ in pairs if route):
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
