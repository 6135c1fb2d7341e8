"""Named numbers in shared memory: a worker's counters of peers, failure reasons and certificates."""

from collections.abc import Iterator, Mapping

OTHER = "other"  # the cell of all names beyond the last free cell
NAME = 15  # 8-byte words of a cell's name: 120 bytes


def cell_name(name: str) -> str:
    """A name as its cell has it, cut to its length."""
    return name.encode()[: NAME * 8].decode("utf-8", "replace")


class Cells:
    """Named numbers in a slot. The number of names is bounded: those beyond it share the last cell."""

    def __init__(self, words: memoryview, start: int, count: int, width: int) -> None:
        self._words = words
        self._starts = range(start, start + count * (NAME + width), NAME + width)
        self._known = dict(self.items())

    def items(self) -> Iterator[tuple[str, int]]:
        """Names in use, and the index of their numbers."""
        for start in self._starts:
            raw = self._words[start : start + NAME].tobytes().rstrip(b"\0")
            if not raw:
                return
            yield raw.decode("utf-8", "replace"), start + NAME

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
        used = len(set(self._known.values()))
        if used >= len(self._starts) - 1 and name != OTHER:
            return self.find(OTHER)
        start = self._starts[used]
        raw = name.encode()[: NAME * 8]
        self._words[start : start + NAME] = memoryview(raw.ljust(NAME * 8, b"\0")).cast("q")
        self._known[name] = start + NAME
        return start + NAME


def note(words: memoryview, cells: Cells, skip: int, width: int, seen: Mapping[str, tuple[int, ...]]) -> None:
    """Set the numbers after the first `skip` of every cell; zeros for names that are not in `seen`."""
    wanted = {cells.find(name): numbers for name, numbers in seen.items()}
    for at in cells.places():
        for column, number in enumerate(wanted.get(at, (0,) * width), at + skip):
            words[column] = number
