"""Responses as field sections of HTTP/2 (RFC 9113 section 8): made of the lines that HTTP/1 has them in."""

from collections.abc import Iterable
from typing import Final

from proxy.wire.h2.hpack import SECRETS
from proxy.wire.h2.tables import Field, Section
from proxy.wire.head import CRLF
from proxy.wire.memo import BoundedMemo
from proxy.wire.response import ResponseHead

_LONGEST_REMEMBERED: Final = 256
_LONGEST_HEAD: Final = 1024

_STATUSES: Final = {status: (b":status", b"%d" % status) for status in range(100, 1000)}

CONTINUE: Final[Section] = (_STATUSES[100],)


class _Lines(BoundedMemo[bytes, Field]):
    """Field lines that were seen before, as fields. Emptied when full; secrets are not kept."""

    def __missing__(self, line: bytes) -> Field:
        name, _, value = line.partition(b":")
        field = name.lower(), value.strip(b" \t")
        if len(line) <= _LONGEST_REMEMBERED and field[0] not in SECRETS:
            self.remember(line, field)
        return field


_known_lines: Final = _Lines(1024)

_known_sections: Final[BoundedMemo[tuple[bytes, int | None, bytes | None], Section]] = BoundedMemo(512)
"""Sections by the head they were made of, its length and date. The same object each time: encoders know it by that."""


def section_of(lines: Iterable[bytes]) -> Section:
    """Field lines of HTTP/1, which were checked before, as HTTP/2 wants them."""
    return tuple([_known_lines[line] for line in lines])


def response_section(response: ResponseHead, length: int | None, date: bytes | None) -> Section:
    """The field section of a response; `length` and `date` stand where the upstream's own do not."""
    key = (response.start, length, date)
    known = _known_sections.get(key)
    if known is not None:
        return known
    fields = [_STATUSES[response.status], *section_of(response.start.split(CRLF)[1:-1])]
    if length is not None:
        fields.append(_known_lines[b"content-length: %d" % length])
    if date is not None:
        fields.append(_known_lines[b"date: " + date])
    section = tuple(fields)
    if len(response.start) <= _LONGEST_HEAD and not any(name in SECRETS for name, _ in section):
        _known_sections.remember(key, section)
    return section


def upgrade_section(response: ResponseHead) -> Section:
    """What answers an extended CONNECT when the upstream has switched protocols (RFC 8441 section 5)."""
    fields = section_of(response.start.split(CRLF)[1:-1])
    return (_STATUSES[200], *[field for field in fields if field[0] != b"sec-websocket-accept"])
