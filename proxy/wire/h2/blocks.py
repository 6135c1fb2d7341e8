"""Field sections that are spread over several frames (RFC 9113 section 4.3)."""

from typing import Final

from proxy.wire.h2.floods import bound

MOST_SECTION: Final = 65536
"""Bytes of a field section, compressed or not."""

_MOST_CONTINUATIONS: Final = 32


class FieldBlock:
    """What HEADERS has brought of a section, and CONTINUATION so far; `ends`: nothing follows it on the stream."""

    __slots__ = ("_continuations", "_pieces", "_size", "ends", "number")

    def __init__(self, number: int, piece: bytes, *, ends: bool) -> None:
        self.number = number
        self.ends = ends
        self._pieces = [piece]
        self._size = len(piece)
        self._continuations = 0

    def add(self, piece: bytes) -> None:
        """Raises `ConnectionFault` where it becomes too much."""
        self._continuations += 1
        self._size += len(piece)
        bound(self._continuations, _MOST_CONTINUATIONS, "CONTINUATION")
        bound(self._size, MOST_SECTION, "header block bytes in CONTINUATION")
        self._pieces.append(piece)

    def whole(self) -> bytes:
        """The block, once its last frame was added."""
        return b"".join(self._pieces)
