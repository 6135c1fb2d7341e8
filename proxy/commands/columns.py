"""Tables that fit a terminal: no cell breaks into two lines, and the columns that matter least are left out first."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

_GAP: Final = 2
Row = Sequence[Text]


class Column(NamedTuple):
    """One column of a table."""

    heading: str
    right: bool = False
    rank: int = 0
    """Of the columns that may be left out, those with the highest rank go first; 0: it stays."""
    least: int = 0
    """Characters that its texts may be shortened to; 0: they are not."""


class Section(NamedTuple):
    """A table with its title."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    most: int | None = None
    """Rows that are shown at most."""

    @property
    def longest(self) -> int:
        """Rows that are shown where there is room for all."""
        return len(self.rows) if self.most is None else min(self.most, len(self.rows))

    def table(self, rows: int, width: int | None) -> Table:
        """The first so many rows, at most `width` characters wide; without a width nothing is shortened."""
        shown = self.rows[:rows]
        widths = _widths(self.columns, shown, width)
        title = self.title if len(shown) == len(self.rows) else f"{self.title} ({len(shown)} of {len(self.rows)})"
        table = Table(
            title=Text(title, style="bold", no_wrap=True, overflow="ellipsis"),
            title_justify="left",
            box=None,
            padding=(0, _GAP, 0, 0),
            pad_edge=False,
            header_style="dim",
        )
        for place, characters in widths.items():
            column = self.columns[place]
            table.add_column(
                column.heading, justify="right" if column.right else "left", no_wrap=True, min_width=characters
            )
        for row in shown:
            table.add_row(*(_shortened(row[place], characters) for place, characters in widths.items()))
        return table


def heights(sections: Sequence[Section], lines: int | None) -> list[int]:
    """The rows of each section that so many lines have room for, first a row of each; without a number all.

    A section that has no room for a row beneath its title and its headings has none.
    """
    if lines is None:
        return [section.longest for section in sections]
    given = [0] * len(sections)
    for place in range(len(sections)):
        if lines >= 3:
            given[place] = 1
            lines -= 3
    while lines > 0:
        longer = [place for place, rows in enumerate(given) if 0 < rows < sections[place].longest][:lines]
        if not longer:
            break
        for place in longer:
            given[place] += 1
        lines -= len(longer)
    return given


def _widths(columns: Sequence[Column], rows: Sequence[Row], width: int | None) -> dict[int, int]:
    """The width of each column that is shown, by its place. One without any text is not."""
    filled = [place for place in range(len(columns)) if any(row[place].plain for row in rows)]
    natural = {
        place: max(cell_len(columns[place].heading), *(cell_len(row[place].plain) for row in rows)) for place in filled
    }
    if width is None:
        return natural
    least = {place: min(full, columns[place].least or full) for place, full in natural.items()}
    for place in sorted(filled, key=lambda place: -columns[place].rank):
        if _total(least) > width and columns[place].rank:
            del natural[place], least[place]
    room = max(0, width - _total(least))
    for place in sorted(least, key=lambda place: natural[place] - least[place]):
        shorter = [other for other in least if least[other] < natural[other]]
        if place in shorter:
            more = min(natural[place] - least[place], room // len(shorter))
            least[place] += more
            room -= more
            natural[place] = least[place]
    return least


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * max(0, len(widths) - 1)


def _shortened(text: Text, width: int) -> Text:
    """A text without its middle, since addresses and paths differ at their ends."""
    if cell_len(text.plain) <= width:
        return text
    if cell_len(text.plain) != len(text.plain):  # wide characters
        text.truncate(width, overflow="ellipsis")
        return text
    end = (width - 1) // 2
    start = width - 1 - end
    return Text(f"{text.plain[:start]}…{text.plain[len(text.plain) - end :]}", style=text.style)
