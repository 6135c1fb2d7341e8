"""Remembered results of computations that recur."""

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedMemo(dict[Key, Value]):
    """A dictionary with at most `most` entries, emptied when it is full.

    A look-up costs no more than in any dictionary. Emptying it costs less than tracking the oldest entry, and a client
    that fills it only slows down the next few requests.
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
