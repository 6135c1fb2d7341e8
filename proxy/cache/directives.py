"""Cache-Control (RFC 9111 section 5.2)."""

import re
from collections.abc import Iterable
from typing import Final

from proxy.wire.fields import field_value

_MEMBER: Final = re.compile(
    rb"[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]++)(?:=(?:\"((?:[^\"\\]|\\.)*+)\"|([^ \t,\"]*+)))?[ \t]*+)?(?:,|$)"
)
_LONGEST: Final = 1 << 31
"""Seconds: more counts as this many (RFC 9111 section 1.2.2)."""

NO_STORE: Final = b"no-store"

Directives = dict[bytes, bytes]
"""Values by lower-case name, empty where there is none."""


def directives(lines: Iterable[bytes]) -> Directives:
    """Those of all Cache-Control fields together.

    What cannot be read counts as `no-store`: its author may have meant just that. Of a repeated directive the first
    counts (section 4.2.1).
    """
    found: Directives = {}
    value = field_value(lines, b"cache-control")
    if value is None:
        return found
    end = 0
    while end < len(value):
        member = _MEMBER.match(value, end)
        if member is None:
            found[NO_STORE] = b""
            return found
        end = member.end()
        name, quoted, plain = member.groups()
        if name:
            found.setdefault(name.lower(), quoted if quoted is not None else plain or b"")
    return found


def seconds(found: Directives, name: bytes) -> int | None:
    """The value of a directive in seconds; None if it is not there, 0 if it is no number (section 4.2.1)."""
    value = found.get(name)
    if value is None:
        return None
    return min(int(value), _LONGEST) if value.isdigit() and len(value) < 20 else 0
