"""What one worker did with one upstream peer: a row of numbers."""

from typing import Final

PEER_COUNTERS: Final = 3
"""Numbers of a row that are counted; what is seen of the peer comes after them."""


class PeerCounters:
    """The one object that writes these numbers."""

    __slots__ = ("_connects", "_failures", "_reuses", "_words")

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._connects: int = words[0]
        self._reuses: int = words[1]
        self._failures: int = words[2]

    def connect(self) -> None:
        self._connects += 1
        self._words[0] = self._connects

    def reuse(self) -> None:
        self._reuses += 1
        self._words[1] = self._reuses

    def failure(self) -> None:
        self._failures += 1
        self._words[2] = self._failures

    def retire(self) -> None:
        """Count where it is not read: the peer is gone, and its row is another's."""
        self._words = memoryview(bytearray(8 * PEER_COUNTERS)).cast("q")
