"""Byte ranges that a request asks for (RFC 9110 section 14), within bounds.

Many small or overlapping ranges could make a response far longer than the file, or a disk seek without end (section
17.15): those that overlap, or that less lies between than a part's own head takes, are sent as one.
"""

import re
from collections.abc import Iterable, Sequence

_RANGE = re.compile(rb"([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18})")
_MOST = 32
"""Ranges of one request: one that asks for more gets the whole."""
_GAP = 80
"""Bytes between two ranges for which two parts would take longer than one."""


def parts_of(value: bytes, size: int) -> list[slice] | None:
    """The parts of a body of `size` bytes that the value of Range asks for, none of them empty; [] if no byte is there.

    None for the whole body: another unit, malformed ranges, or too many. The client's order is kept where nothing was
    joined.
    """
    unit, _, ranges = value.partition(b"=")
    if unit.strip(b" \t").lower() != b"bytes":
        return None
    members = [member for one in ranges.split(b",") if (member := one.strip(b" \t"))]
    if not 0 < len(members) <= _MOST:
        return None
    found = []
    for member in members:
        part = _part(member, size)
        if part is None:
            return None
        if part.start < part.stop:
            found.append(part)
    joined = _joined(found)
    return found if len(joined) == len(found) else joined


def _part(member: bytes, size: int) -> slice | None:
    match = _RANGE.fullmatch(member)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        # Of an empty body the last bytes are the whole (section 14.1.2), which no Content-Range can express.
        return None if size == 0 and int(suffix) else slice(max(0, size - int(suffix)), size)
    if last and int(last) < int(first):
        return None
    return slice(int(first), min(int(last) + 1, size) if last else size)


def _joined(parts: Iterable[slice]) -> list[slice]:
    found: list[slice] = []
    for part in sorted(parts, key=lambda part: int(part.start)):
        if found and part.start <= found[-1].stop + _GAP:
            found[-1] = slice(found[-1].start, max(found[-1].stop, part.stop))
        else:
            found.append(part)
    return found


def part_heads(parts: Sequence[slice], content_type: bytes, size: int, boundary: bytes) -> tuple[list[bytes], bytes]:
    """What precedes each part of a multipart/byteranges body, and what ends it (section 14.6)."""
    heads = [
        b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n"
        % (boundary, content_type, content_range(part, size))
        for part in parts
    ]
    return heads, b"\r\n--%s--\r\n" % boundary


def content_range(part: slice, size: int) -> bytes:
    """The value of Content-Range."""
    return b"bytes %d-%d/%d" % (part.start, part.stop - 1, size)
