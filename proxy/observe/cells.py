"""Named numbers in shared memory: a worker's counters of peers, failure reasons and certificates."""

from collections.abc import Iterator, Mapping

OTHER = "other"  # the cell of all names beyond the last free cell
NAME = 15  # 8-byte words of a cell's name: 120 bytes


PAIR = 2 * NAME + 1
"""Words of the name of a cell that belongs to two things."""


def cell_name(name: str) -> str:
    """A name as its cell has it, cut to its length."""
    return name.encode()[: NAME * 8].decode("utf-8", "replace")


def pair_name(one: str, other: str) -> str:
    """The name of the cell of both, each cut to the length of a cell's own name."""
    return f"{cell_name(one)}\n{cell_name(other)}"


class Cells:
    """Named numbers in a slot. The number of names is bounded: those beyond it share the last cell."""

    def __init__(self, words: memoryview, start: int, count: int, width: int, name: int = NAME) -> None:
        """`name`: words of a name; `width`: numbers of each."""
        self._words = words
        self._name = name
        self._starts = range(start, start + count * (name + width), name + width)
        self._known = dict(self.items())

    def items(self) -> Iterator[tuple[str, int]]:
        """Names in use, and the index of their numbers."""
        for start in self._starts:
            raw = self._words[start : start + self._name].tobytes()
            if not raw[0]:
                return
            yield raw.rstrip(b"\0").decode("utf-8", "replace"), start + self._name

    @property
    def full(self) -> bool:
        """Whether only the cell of all other names is left."""
        return len(set(self._known.values())) >= len(self._starts) - 1

    def knows(self, name: str) -> bool:
        """Whether the name has a cell, its own or the shared one."""
        return name in self._known

    def clear(self) -> None:
        """Forget all names."""
        for start in reversed(self._starts):
            self._words[start] = 0
        self._known = {}

    def rename(self, old: str, new: str) -> int:
        """Give the cell of one name to another, its numbers zeroed; return their index."""
        at = self._known.pop(old)
        start, size = at - self._name, self._starts.step
        self._words[start : start + size] = memoryview(bytes(8 * size)).cast("q")
        self._write(start, new)
        return at

    def places(self) -> list[int]:
        """The indexes of the numbers of all names in use."""
        return [at for _, at in self.items()]

    def find(self, name: str) -> int:
        """The index of the numbers of `name`."""
        cell = self._known.get(name)
        if cell is None:
            cell = self._take(name)
        return cell

    def _take(self, name: str) -> int:
        if self.full and name != OTHER:
            return self.find(OTHER)
        start = self._starts[len(set(self._known.values()))]
        self._write(start, name)
        return start + self._name

    def _write(self, start: int, name: str) -> None:
        size = self._name * 8
        raw = name.encode()[:size]
        self._words[start : start + self._name] = memoryview(raw.ljust(size, b"\0")).cast("q")
        self._known[name] = start + self._name


def note(words: memoryview, cells: Cells, skip: int, width: int, seen: Mapping[str, tuple[int, ...]]) -> None:
    """Set the numbers after the first `skip` of every cell; zeros for names that are not in `seen`.

    Of those that share the last cell the first counts.
    """
    wanted: dict[int, tuple[int, ...]] = {}
    for name, numbers in seen.items():
        wanted.setdefault(cells.find(name), numbers)
    for at in cells.places():
        for column, number in enumerate(wanted.get(at, (0,) * width), at + skip):
            words[column] = number
