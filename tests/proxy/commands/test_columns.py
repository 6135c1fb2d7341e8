"""Tables that fit a terminal of any size."""

import pytest
from rich.console import Console
from rich.text import Text

from proxy.commands.columns import Column, Section, heights

COLUMNS = (
    Column("request", least=12),
    Column("peer", least=10, rank=1),
    Column("reason", rank=1),
    Column("count", right=True),
    Column("state", rank=2),
)
ROWS = (
    ("GET /a/path/as/long/as/they/get?page=12", "application.internal.example.com:8080", "", "1", "done"),
    ("GET /", "127.0.0.1:8080", "", "12345", "await"),
)


def section(title: str = "requests", rows: int = len(ROWS), most: int | None = None) -> Section:
    return Section(title, COLUMNS, [[Text(cell) for cell in row] for row in ROWS[:rows]], most)


def lines(width: int | None) -> list[str]:
    console = Console(width=width or 1000, color_system=None)
    with console.capture() as shown:
        console.print(section().table(len(ROWS), width))
    return [line.rstrip() for line in shown.get().splitlines()]


def test_a_table_without_a_width_shortens_nothing() -> None:
    assert lines(None) == [
        "requests",
        "request                                  peer                                   count  state",
        "GET /a/path/as/long/as/they/get?page=12  application.internal.example.com:8080      1  done",
        "GET /                                    127.0.0.1:8080                         12345  await",
    ]


def test_texts_lose_their_middle_before_a_column_is_left_out() -> None:
    assert lines(50) == [
        "requests",
        "request             peer              count  state",
        "GET /a/pa…?page=12  applicat…om:8080      1  done",
        "GET /               127.0.0.1:8080    12345  await",
    ]


@pytest.mark.parametrize(
    ("width", "heading"), [(38, ["request", "peer", "count", "state"]), (31, ["request", "peer", "count"])]
)
def test_columns_of_the_highest_rank_are_left_out_first(width: int, heading: list[str]) -> None:
    assert lines(width)[1].split() == heading


@pytest.mark.parametrize("width", range(20, 120))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    shown = lines(width)
    assert len(shown) == 4, "no cell is broken into two lines"
    assert max(map(len, shown)) <= width
    assert shown[2].split()[-1] in ("1", "done")


def test_wide_characters_are_cut_without_breaking_the_table() -> None:
    text = Text("本" * 20)
    console = Console(width=20, color_system=None)
    with console.capture() as shown:
        console.print(Section("", (Column("name", least=4),), [[text]]).table(1, 11))
    assert shown.get().split()[-1] == "本" * 5 + "…"


def test_a_low_terminal_shows_a_row_of_each_section_first() -> None:
    sections = [section(), section(most=1), section(rows=1)]
    assert heights(sections, None) == [2, 1, 1]
    assert heights(sections, 10) == [2, 1, 1]
    assert heights(sections, 9) == [1, 1, 1]
    assert heights(sections, 8) == [2, 1, 0]
    assert heights(sections, 2) == [0, 0, 0]


def test_a_title_says_how_many_rows_are_left_out() -> None:
    assert str(section().table(1, 40).title) == "requests (1 of 2)"
