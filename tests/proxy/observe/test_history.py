"""The last hour in shared memory: rows, percentiles, bounds, another writer; and what was done in it."""

import os
from pathlib import Path

import pytest

from proxy.observe.exchange_counters import Traffic
from proxy.observe.history import PERIOD, ROWS, SERIES, WHOLE, Figures, History, series_name
from proxy.observe.marks import MOST, MarkKind, Marks
from proxy.observe.metrics import Board
from proxy.observe.past import Past

START = 1_700_000_000.0


def counted(*, good: int = 0, bad: int = 0, seconds: float = 0.004) -> Traffic:
    board = Board()
    counters = board.counters(board.take([])).route("r")["p"]
    for number in range(good + bad):
        counters.exchange(b"GET", 200 if number < good else 502, seconds, 10, 100)
    return board.slots()[0].traffic()


def test_a_row_has_what_was_added_since_the_one_before() -> None:
    history = History(START)
    history.write({("api", "a:1"): counted(good=10)}, START + 5)
    history.write({("api", "a:1"): counted(good=14, bad=6), ("api", ""): counted(good=1)}, START + 10)
    span = history.read(0, START + 10)
    assert (span.ends, span.lengths) == ([START + 5, START + 10], [5, 5])
    assert [row.good for row in span.series[WHOLE]] == [10, 5]
    assert [row.failed for row in span.series[series_name("api")]] == [0, 6]
    assert [row.good for row in span.series[series_name("api", "a:1")]] == [10, 4]
    assert span.series[WHOLE][1].received == 110
    assert 2500 < span.series[WHOLE][1].p95 <= 5000
    assert history.read(START + 5, START + 10).ends == [START + 10]


def test_a_row_without_requests_has_no_latency() -> None:
    history = History(START)
    for row in (1, 2):
        history.write({("api", "a:1"): counted(good=3)}, START + row * PERIOD)
    assert history.read(0, START + 10).series[WHOLE][1] == Figures()


def test_a_row_is_due_once_in_its_five_seconds() -> None:
    history = History(START)
    assert history.is_due(START)
    history.write({}, START)
    assert not history.is_due(START + PERIOD - 0.1)
    assert history.is_due(START + PERIOD)
    assert history.is_due(START - PERIOD)  # the clock was set back


def test_an_hour_is_kept_and_no_more() -> None:
    history = History(START)
    for row in range(ROWS + 100):
        history.write({("api", "a:1"): counted(good=0)}, START + row * PERIOD)
    ends = history.read(0, START + (ROWS + 99) * PERIOD).ends
    assert (len(ends), ends[0]) == (ROWS, START + 100 * PERIOD)
    assert ends == sorted(ends)
    assert history.read(0, START + 10 * ROWS * PERIOD).ends == []


def test_what_no_worker_wrote_is_in_the_next_row() -> None:
    history = History(START)
    history.write({("api", "a:1"): counted(good=1)}, START + 5)
    history.write({("api", "a:1"): counted(good=7)}, START + 35)
    span = history.read(0, START + 35)
    assert (span.lengths, [row.good for row in span.series[WHOLE]]) == ([5, 30], [1, 6])


def test_a_writer_that_dies_is_followed_by_another() -> None:
    history = History(START)
    for row, good in enumerate((1, 3, 6), 1):
        pid = os.fork()
        if not pid:
            history.write({("api", f"a:{row}"): counted(good=good), ("api", ""): counted(good=good)}, START + row * 5)
            os._exit(0)
        os.waitpid(pid, 0)
    series = history.read(0, START + 15).series
    assert set(series) == {WHOLE, "api", *(series_name("api", f"a:{row}") for row in (1, 2, 3))}
    assert [row.good for row in series[series_name("api", "a:2")]] == [0, 3, 0]


def test_series_beyond_the_bound_are_added_up() -> None:
    history = History(START)
    one = counted(good=1)
    history.write({(f"route-{number}", "a:1"): one for number in range(SERIES)}, START + 5)
    series = history.read(0, START + 5).series
    assert len(series) == SERIES
    assert series[WHOLE][0].good == SERIES
    assert sum(rows[0].good for name, rows in series.items() if name != WHOLE) == 2 * SERIES


def test_the_newest_routes_have_a_series() -> None:
    history = History(START)
    old = {(f"route-{number}", "a:1"): counted(good=1) for number in range(SERIES)}
    history.write(old, START + 5)
    for row in range(2, 30):
        new = {(f"new-{row}", "b:1"): counted(good=row)}
        history.write({**old, ("route-0", "a:1"): counted(good=row), **new}, START + row * PERIOD)
    span = history.read(0, START + 29 * PERIOD)
    assert [rows[-1].good for name, rows in span.series.items() if name.startswith("new-29")] == [29, 29]
    assert span.series["route-0"][-2:] == [Figures(1, 0, 0, 10, 100, 3750, 4875, 4975)] * 2
    assert span.series[WHOLE][-1].good == 2


def test_a_board_writes_history_of_what_it_counted() -> None:
    board = Board()
    board.counters(board.take([])).route("api")["a:1"].exchange(b"GET", 200, 0.1, 1, 1)
    board.history.write(board.traffic(), board.started + 5)
    assert board.history.read(0, board.started + 5).series["api"][0].good == 1


def test_a_successor_goes_on_with_the_last_hour() -> None:
    old = Past(START, 2)
    old.history.write({("api", "a:1"): counted(good=5)}, START + 5)
    old.history.write({("api", "a:1"): counted(good=8)}, START + 10)
    old.marks.note(1, MarkKind.RELOAD, "settings reloaded", START + 7)
    new = Past(START + 12, 2, old.hand_over())
    new.history.write({("api", "a:1"): counted(good=4), ("api", "b:1"): counted(good=1)}, START + 15)
    old.history.write({("api", "a:1"): counted(good=100)}, START + 15)
    span = new.history.read(0, START + 15)
    assert (span.ends, span.lengths) == ([START + 5, START + 10, START + 15], [5, 5, 5])
    assert [row.good for row in span.series[WHOLE]] == [5, 3, 5]
    assert [row.good for row in span.series[series_name("api", "a:1")]] == [5, 3, 4]
    assert [mark.text for mark in new.marks.read(2, 0, START + 15)] == ["settings reloaded"]


@pytest.mark.parametrize("change", ["layout", "size", "kind", "text"])
def test_a_past_of_another_layout_is_left_alone(tmp_path: Path, change: str) -> None:
    old = Past(START, 2)
    old.history.write({("api", "a:1"): counted(good=5)}, START + 5)
    file, size, layout = old.hand_over().split(":")
    with (tmp_path / "file").open("wb") as other:
        other.truncate(int(size))
        handed_over = {
            "layout": f"{file}:{size}:{int(layout) + 1}",
            "size": f"{file}:{int(size) + 8}:{layout}",
            "kind": f"{other.fileno()}:{size}:{layout}",
            "text": "x:y",
        }[change]
        assert Past(START + 10, 2, handed_over).history.read(0, START + 10).ends == []
        os.fstat(other.fileno())
    os.close(int(file))


def test_marks_of_all_owners_come_in_their_order() -> None:
    marks = Marks(3)
    marks.note(2, MarkKind.DEPLOY, "api: served by a:2", START + 2)
    marks.note(0, MarkKind.RELOAD, "settings reloaded", START + 1)
    marks.note(1, MarkKind.FAULT, "é" * 300, START + 3)
    found = marks.read(3, 0, START + 3)
    assert [mark.kind for mark in found] == [MarkKind.RELOAD, MarkKind.DEPLOY, MarkKind.FAULT]
    assert found[0].text == "settings reloaded"
    assert found[2].text == "é" * 116
    assert [mark.when for mark in marks.read(3, START + 1, START + 3)] == [START + 2, START + 3]
    assert len(marks.read(2, 0, START + 3)) == 2
    assert marks.read(3, 0, START + 4000) == []


@pytest.mark.parametrize("count", [MOST, 3 * MOST + 1])
def test_an_owner_keeps_its_newest_marks(count: int) -> None:
    marks = Marks(1)
    for number in range(count):
        marks.note(0, MarkKind.CHANGE, str(number), START + number)
    found = [mark.text for mark in marks.read(1, 0, START + count)]
    assert found == [str(number) for number in range(count - MOST, count)]
