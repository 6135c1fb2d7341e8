"""Changes of fields that a route asks for."""

from collections.abc import Iterable


class FieldChanges:
    """Fields to set (replacing what is there) and to remove. Names and values were checked with the settings."""

    def __init__(self, setting: Iterable[tuple[str, str]], removing: Iterable[str]) -> None:
        setting = tuple(setting)
        self.lines = [f"{name}: {value}".encode() for name, value in setting]
        self._gone = frozenset(name.lower().encode() for name in (*(name for name, _ in setting), *removing))

    def __bool__(self) -> bool:
        return bool(self._gone)

    def apply(self, lines: Iterable[bytes]) -> list[bytes]:
        """The field lines after the changes."""
        gone = self._gone
        return [line for line in lines if line.partition(b":")[0].lower() not in gone] + self.lines
