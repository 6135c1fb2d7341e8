"""Outbound heads: the request to the upstream, the response to the client.

Inbound heads are never changed. An outbound head is built from parsed parts only: one Host, one framing field of the
gateway's own choice, the forwarding fields, then the client's other lines unchanged.
"""

import base64
import hashlib
import os
from collections.abc import Iterable
from email.utils import formatdate
from time import time
from typing import Final

from proxy.wire.head import CRLF, tokens
from proxy.wire.request import RequestFields
from proxy.wire.response import ResponseHead

_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3

BODILESS: Final = frozenset({204, 205, 304})
"""Final statuses whose response has no body, whatever its fields say (RFC 9110 sections 15.3.5, 15.3.6, 15.4.5)."""


def is_bodiless(method: bytes, status: int) -> bool:
    """Whether a final response ends with its head, regardless of its fields (RFC 9112 section 6.3)."""
    return status in BODILESS or method == b"HEAD"


_LOW: Final = [b"%02x" % number for number in range(256)]


class RequestIds:
    """Identifiers for requests: unguessable per process, then counted."""

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex().encode()
        self._made = 0
        self._high = b""

    def make(self) -> bytes:
        # All but the last two digits are formatted once in 256 requests.
        self._made = made = self._made + 1
        low = made & 255
        if not low or made == 1:
            self._high = b"%s-%06x" % (self._prefix, made >> 8)
        return self._high + _LOW[low]


class Clock:
    """The Date field's value, made once a second (RFC 9110 section 6.6.1)."""

    def __init__(self) -> None:
        self._second = 0
        self._date = b""

    def date(self) -> bytes:
        now = int(time())
        if now != self._second:
            self._second = now
            self._date = formatdate(now, usegmt=True).encode()
        return self._date


def upstream_block(
    fields: RequestFields, host: bytes | None, forwarding: bytes, more: bytes = b"", upgrade: bytes = b""
) -> bytes:
    """The fields of an upstream request, except the request id, the trace, the framing and the final empty line.

    `forwarding` are the lines about the client (`proxy.wire.forwarding`), `more` are lines to append after the client's
    own, each with its end; `upgrade` is the protocol that the upstream is asked to switch to, if any.
    The upstream speaks HTTP/1.1: without a `host` it gets an empty Host (RFC 9112 section 3.2).
    """
    pieces = [b"Host: %s\r\n" % (host or b""), forwarding]
    if fields.lines:
        pieces.append(CRLF.join(fields.lines))
        pieces.append(CRLF)
    pieces.append(more)
    if upgrade:
        pieces.append(b"Connection: Upgrade\r\nUpgrade: %s\r\n" % upgrade)
    elif fields.te_trailers:
        pieces.append(b"Connection: TE\r\nTE: trailers\r\n")
    return b"".join(pieces)


def informational(response: ResponseHead) -> bytes:
    """A 1xx head for the client (RFC 9110 section 15.2)."""
    return response.start + CRLF


def websocket_accept(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept value for `key` (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest())


def field_value(lines: Iterable[bytes], name: bytes) -> bytes | None:
    """The value of a field by its lower-case name; several lines are one list (RFC 9110 section 5.2)."""
    found = [line for line in lines if line[: len(name) + 1].lower() == name + b":"]
    return b", ".join(line[len(name) + 1 :].strip(b" \t") for line in found) if found else None


def cookie_value(lines: Iterable[bytes], name: bytes) -> bytes | None:
    """The value of a request's cookie, the first of that name (RFC 6265 section 5.4), or None."""
    for line in lines:
        if line[:7].lower() == b"cookie:":
            for pair in line[7:].split(b";"):
                key, equals, value = pair.strip(b" \t").partition(b"=")
                if equals and key == name:
                    return value
    return None


def with_vary(lines: Iterable[bytes], *names: bytes) -> list[bytes]:
    """The field lines with a Vary that names all of `names`, each once (RFC 9110 section 12.5.5)."""
    result = list(lines)
    present = set(tokens(field_value(result, b"vary") or b""))
    missing = [name for name in names if name.lower() not in present and b"*" not in present]
    if missing:
        result.append(b"Vary: " + b", ".join(missing))
    return result
