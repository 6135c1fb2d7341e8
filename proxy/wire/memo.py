"""What was worked out before and is asked for again and again."""

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedMemo(dict[Key, Value]):
    """A dictionary with at most `most` entries, emptied when it is full.

    Looking up costs what it costs in any dictionary. Emptying all at once costs less than knowing which entry is the
    oldest, and whoever fills it with entries of one use slows down the next few requests only.
    """

    __slots__ = ("_most",)

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def remember(self, key: Key, value: Value) -> Value:
        """Store a value and return it."""
        if len(self) >= self._most:
            self.clear()
        self[key] = value
        return value
