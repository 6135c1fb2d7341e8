"""What is logged of a refused request: as much as was received, whether or not it can be parsed."""

from collections.abc import Sequence
from typing import NamedTuple

from proxy.wire.fields import field_value
from proxy.wire.grammar import is_token
from proxy.wire.head import CRLF, END
from proxy.wire.request import RequestFields

MOST = 1024
"""Bytes of each part that are logged; three dots mark what was cut off."""

_LONGEST_METHOD = 20
_UNREAD = b"-"
_VERSIONS = {b"HTTP/1.0": 0, b"HTTP/1.1": 1, b"HTTP/2.0": 2}


class Outline(NamedTuple):
    """Method, target and minor version (2 for HTTP/2), `-` if unknown; `fields` has those that are logged.

    Unchecked: only for the log, which escapes it, and for the form of the error response.
    """

    method: bytes
    target: bytes
    minor: int
    fields: RequestFields


def outline(data: bytes) -> Outline:
    """The outline of the start of an HTTP/1 request; an invalid first line becomes the target."""
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
    """The fields needed for logs and error responses, unchecked."""
    fields = RequestFields()
    fields.referer = _value(lines, b"referer")
    fields.user_agent = _value(lines, b"user-agent")
    fields.accept = _value(lines, b"accept")
    return fields


def shortened(value: bytes) -> bytes:
    """The part of a value that is logged."""
    return value if len(value) <= MOST else value[:MOST] + b"..."


def _value(lines: Sequence[bytes], name: bytes) -> bytes | None:
    value = field_value(lines, name)
    return None if value is None else shortened(value)
