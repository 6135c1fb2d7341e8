"""What the log says of a request that is refused: as much as was read of it, whether or not it can be parsed."""

from collections.abc import Sequence
from typing import NamedTuple

from proxy.wire.fields import field_value
from proxy.wire.grammar import is_token
from proxy.wire.head import CRLF, END
from proxy.wire.request import RequestFields

MOST = 1024
"""Bytes of each part that are kept; what was cut off is told by three dots."""

_LONGEST_METHOD = 20
_UNREAD = b"-"
_VERSIONS = {b"HTTP/1.0": 0, b"HTTP/1.1": 1, b"HTTP/2.0": 2}


class Outline(NamedTuple):
    """Method, target and minor version (2 for HTTP/2), `-` for what cannot be told; `fields` has the names for logs.

    Nothing was checked: for a log that escapes it, and for the form of the refusal, alone.
    """

    method: bytes
    target: bytes
    minor: int
    fields: RequestFields


def outline(data: bytes) -> Outline:
    """The outline of an HTTP/1 request of which these bytes were read; a line that is none stands for the target."""
    head = data[2:] if data[:2] == CRLF else data
    line, _, rest = head.partition(END)[0].partition(b"\n")
    line = line.rstrip(b"\r")
    fields = outlined_fields(rest.replace(b"\r", b"").split(b"\n"))
    method, space, target = line.partition(b" ")
    if not space or len(method) > _LONGEST_METHOD or not is_token(method):
        return Outline(_UNREAD, shortened(line) or _UNREAD, 1, fields)
    before, _, version = target.rpartition(b" ")
    minor = _VERSIONS.get(version)
    if minor is None:
        return Outline(method, shortened(target) or _UNREAD, 1, fields)
    return Outline(method, shortened(before) or _UNREAD, minor, fields)


def outlined_fields(lines: Sequence[bytes]) -> RequestFields:
    """The fields that logs name and refusals heed, unchecked."""
    fields = RequestFields()
    fields.referer = _value(lines, b"referer")
    fields.user_agent = _value(lines, b"user-agent")
    fields.accept = _value(lines, b"accept")
    return fields


def shortened(value: bytes) -> bytes:
    """As much of a value as is logged."""
    return value if len(value) <= MOST else value[:MOST] + b"..."


def _value(lines: Sequence[bytes], name: bytes) -> bytes | None:
    value = field_value(lines, name)
    return None if value is None else shortened(value)
