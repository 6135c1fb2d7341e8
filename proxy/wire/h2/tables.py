"""The tables that HPACK's indices point into (RFC 7541 section 2.3)."""

from typing import Final

Field = tuple[bytes, bytes]
"""A field's name, in lower case, and its value."""

Section = tuple[Field, ...]
"""A field section (RFC 9110 section 6.3): the fields of a head, or of trailers, in their order."""

OVERHEAD: Final = 32
"""What an entry counts besides its bytes, in tables and in the size of sections (RFC 7541 section 4.1)."""

TABLE_SIZE: Final = 4096
"""What either peer's table may hold unless it is said otherwise, and all that is used here."""

STATIC: Final[tuple[Field, ...]] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)
"""Appendix A; its first entry has index 1."""

LAST_STATIC: Final = 61


def entry_size(name: bytes, value: bytes) -> int:
    """What a field counts in a table and in a section (RFC 7541 section 4.1, RFC 9113 section 6.5.2)."""
    return OVERHEAD + len(name) + len(value)


class DynamicTable:
    """The fields that a connection has sent so far, the newest first, in at most `limit` bytes (RFC 7541 section 4)."""

    __slots__ = ("_size", "entries", "limit")

    def __init__(self, limit: int) -> None:
        self.entries: list[Field] = []
        self.limit = limit
        self._size = 0

    def add(self, field: Field) -> None:
        """Put a field in front; old ones make room. One that is larger than the table only empties it."""
        size = entry_size(field[0], field[1])
        self._evict(self.limit - size)
        if size <= self.limit:
            self.entries.insert(0, field)
            self._size += size

    def resize(self, limit: int) -> None:
        """Hold no more than so many bytes from now on."""
        self.limit = limit
        self._evict(limit)

    def _evict(self, limit: int) -> None:
        entries = self.entries
        while entries and self._size > limit:
            name, value = entries.pop()
            self._size -= entry_size(name, value)
