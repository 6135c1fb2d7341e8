"""Parsing response heads and trailers (RFC 9112 sections 4 to 7).

Every response is re-framed for the client. So unambiguous faults are repaired (white space before a colon, control
characters in values, padding of numbers), and ambiguous framing matters only if there is a body.
"""

import re
from http import HTTPStatus

from proxy import errors
from proxy.errors import ExchangeError
from proxy.wire.authentication import binds_connection
from proxy.wire.head import CRLF, LINE_BYTES, may_trail, tokens
from proxy.wire.memo import BoundedMemo
from proxy.wire.names import PROTECTED, RESPONSE_NAMES, Kind

# Looking up a module's constant is faster than an enumeration's attribute, and this is done for every field.
FORWARD, DROP, CONNECTION = Kind.FORWARD, Kind.DROP, Kind.CONNECTION
CONTENT_LENGTH, CONTENT_TYPE, DATE = Kind.CONTENT_LENGTH, Kind.CONTENT_TYPE, Kind.DATE

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_known_statuses: BoundedMemo[bytes, tuple[int, int, bytes]] = BoundedMemo(256)
_LONGEST_REMEMBERED = 256
_LONGEST_HEAD_REMEMBERED = 1024
_NO_TOKENS: frozenset[bytes] = frozenset()
_LONGEST_LENGTH = 19
_LINE_FEED = b"\n"
_SPACED = bytes(0x20 if byte not in LINE_BYTES and byte != 0x0A else byte for byte in range(256))
"""Replaces control characters, except the line feed, with spaces (RFC 9110 section 5.5)."""
_FRAMING = frozenset(
    {Kind.CONTENT_LENGTH, Kind.TRANSFER_ENCODING, Kind.CONNECTION, Kind.UPGRADE, Kind.WEBSOCKET_ACCEPT}
)
_KEEP_ALIVE = frozenset({b"keep-alive"})


# RFC 9110 renamed two statuses; Python's table follows from 3.13 on.
_RENAMED = {413: b"Content Too Large", 414: b"URI Too Long"}
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus} | _RENAMED


def status_line(status: int, reason: bytes) -> bytes:
    """A status line with its end; the default reason is the registered one."""
    return b"HTTP/1.1 %d %s\r\n" % (status, reason or _REASONS.get(status, b""))


class ResponseHead:
    """The head of a response. Functions that make one return it finished; it is never changed afterwards."""

    __slots__ = (
        "binding",
        "chunked",
        "close",
        "content_length",
        "dated",
        "event_stream",
        "fault",
        "lines",
        "minor",
        "nominated",
        "offload",
        "offloaded",
        "private",
        "reason",
        "start",
        "status",
        "trailer",
        "unbuffered",
        "upgrade",
        "websocket_accept",
    )

    def __init__(self, minor: int, status: int, reason: bytes) -> None:
        self.minor = minor
        self.status = status
        self.reason = reason
        self.lines: list[bytes] = []
        self.start = status_line(status, reason)
        """Status line and `lines`, each with its end, as sent to the client."""
        self.content_length: int | None = None
        self.chunked = False
        self.close = minor == 0
        self.dated = False
        self.private = False
        self.binding = False
        """It offers to authenticate the connection (`proxy.wire.authentication`)."""
        self.unbuffered = False
        self.event_stream = False
        self.fault = ""
        """A fault in its framing. A response without a body is complete nevertheless (RFC 9112 section 6.3)."""
        self.nominated = _NO_TOKENS
        """Fields that its Connection field names: dropped, also as trailers (RFC 9110 section 7.6.1)."""
        self.offload = b""
        """The name of a dropped field that asks a proxy to send something else instead."""
        self.offloaded = b""
        """Its value."""
        self.trailer: bytes | None = None
        """The Trailer field's value."""
        self.upgrade: bytes | None = None
        self.websocket_accept: bytes | None = None

    def with_lines(self, lines: list[bytes], *, sized: bool) -> "ResponseHead":
        """The same head with other field lines; without `sized` its length is open."""
        head = ResponseHead(self.minor, self.status, self.reason)
        head.lines = lines
        head.start += b"".join([line + CRLF for line in lines])
        head.content_length = self.content_length if sized else None
        head.chunked = self.chunked
        head.close = self.close
        head.dated = self.dated
        head.private = self.private
        head.binding = self.binding
        head.unbuffered = self.unbuffered
        head.event_stream = self.event_stream
        head.fault = self.fault
        head.nominated = self.nominated
        head.offload = self.offload
        head.offloaded = self.offloaded
        head.trailer = self.trailer
        head.upgrade = self.upgrade
        head.websocket_accept = self.websocket_accept
        return head


def local_head(
    status: int, lines: list[bytes], length: int | None, *, dated: bool = False, private: bool = False
) -> ResponseHead:
    """The head of a response of the gateway itself; `dated`: its lines have a Date; `private`: it is for one client."""
    head = ResponseHead(1, status, b"")
    head.lines = lines
    head.start += b"".join([line + CRLF for line in lines])
    head.content_length = length
    head.dated = dated
    head.private = private
    return head


class _Lines(BoundedMemo[bytes, tuple[Kind, bytes, bytes]]):
    """Raw field lines, remembered: what the gateway does with each, its value, and the line to forward.

    Most lines recur from one response to the next, so looking up a whole line saves splitting and checking it: 2 of
    about 40 microseconds of a small request. Cookies are not remembered: they are secrets of one client.
    """

    def __missing__(self, line: bytes) -> tuple[Kind, bytes, bytes]:
        name, colon, value = line.partition(b":")
        kind = RESPONSE_NAMES[name]
        if not colon or kind is Kind.INVALID or line.translate(None, LINE_BYTES):
            found = _repaired(line)
            kind = found[0]
        else:
            found = (kind, value.strip(b" \t"), line)
        if len(line) <= _LONGEST_REMEMBERED and kind is not Kind.SET_COOKIE:
            self.remember(line, found)
        return found


def _repaired(line: bytes) -> tuple[Kind, bytes, bytes]:
    """Repair a faulty line if that is unambiguous (RFC 9112 section 5.1, RFC 9110 section 5.5)."""
    name, colon, value = line.partition(b":")
    name = name.rstrip(b" \t")
    kind = RESPONSE_NAMES[name]
    spaced = value.translate(_SPACED)
    if not colon or kind is Kind.INVALID or _LINE_FEED in value or (spaced != value and kind in _FRAMING):
        raise _bad_response("a field line")
    return kind, spaced.strip(b" \t"), name + b":" + spaced.rstrip(b" \t")


_known_lines = _Lines(1024)
_known_heads: BoundedMemo[bytes, ResponseHead] = BoundedMemo(512)


def parse_response_head(head: bytes) -> ResponseHead:
    """The head of a response; `head` is everything before the empty line.

    Raises `ExchangeError` (502) for a head that two parsers may read differently: it is never forwarded (RFC 9112
    sections 4 to 6). Ambiguous framing is the head's `fault`.

    The same request gets the same head again, identical within a second: heads are remembered, which saves 3 of about
    40 microseconds.
    """
    response = _known_heads.get(head)
    if response is None:
        response = _parse(head)
        if len(head) <= _LONGEST_HEAD_REMEMBERED and not response.private:
            _known_heads.remember(head, response)
    return response


def _parse(head: bytes) -> ResponseHead:
    lines = iter(head.split(CRLF))
    response = ResponseHead(*_status(next(lines)))
    keep = response.lines.append
    known = _known_lines
    options = _NO_TOKENS
    for raw in lines:
        kind, value, line = known[raw]
        if kind is FORWARD:
            keep(line)
        elif kind is CONTENT_LENGTH:
            _read_length(response, value)
        elif kind is DATE:
            response.dated = True
            keep(line)
        elif kind is CONTENT_TYPE:
            response.event_stream = value[:17].lower() == b"text/event-stream"
            keep(line)
        elif kind is CONNECTION:
            options |= _connection_options(value)
        elif kind is not DROP:
            _read_response_field(response, kind, value, line)
    if options:
        _apply_options(response, options)
    if response.chunked and response.content_length is not None:
        response.fault = "Content-Length and Transfer-Encoding together"
    if response.fault:
        response.chunked, response.content_length, response.close = False, None, True
    if response.lines:
        response.start += CRLF.join(response.lines) + CRLF
    return response


def response_trailers(block: bytes, nominated: frozenset[bytes]) -> list[bytes]:
    """The lines of a trailer section to forward; others are dropped (RFC 9112 section 7.1.2).

    The message is complete: `ExchangeError` is raised only for something other than field lines. `nominated` are the
    fields that the head's Connection field names.
    """
    found = []
    for raw in block.split(CRLF) if block else ():
        kind, _, line = _known_lines[raw]
        name = line.partition(b":")[0]
        if kind is FORWARD and may_trail(name) and name.lower() not in nominated:
            found.append(line)
    return found


def _status(line: bytes) -> tuple[int, int, bytes]:
    """Minor version, status and reason of a status line, remembered."""
    known = _known_statuses.get(line)
    if known is not None:
        return known
    match = _STATUS_LINE.fullmatch(line.translate(_SPACED))
    if match is None:
        raise _bad_response("status line")
    minor, status, reason = match.groups(b"")
    found = (int(minor), int(status), reason)
    return _known_statuses.remember(line, found) if len(line) <= _LONGEST_REMEMBERED else found


def _bad_response(detail: str) -> ExchangeError:
    return ExchangeError(errors.BAD_RESPONSE, detail)


def _connection_options(value: bytes) -> frozenset[bytes]:
    lowered = value.lower()
    return _KEEP_ALIVE if lowered == b"keep-alive" else frozenset(tokens(lowered)) - {b""}


def _apply_options(response: ResponseHead, options: frozenset[bytes]) -> None:
    """Combine all Connection lines: `close` wins (RFC 9112 section 9.3); other names are fields to drop."""
    response.close = b"close" in options or (response.minor == 0 and b"keep-alive" not in options)
    nominated = response.nominated = options - {b"close", b"keep-alive", b"upgrade"} - PROTECTED
    if nominated:
        response.lines = [line for line in response.lines if line.partition(b":")[0].lower() not in nominated]


def _read_length(response: ResponseHead, value: bytes) -> None:
    if response.content_length is not None or not value.isdigit() or len(value.lstrip(b"0")) > _LONGEST_LENGTH:
        response.fault = "Content-Length"
    else:
        response.content_length = int(value)


def _read_response_field(response: ResponseHead, kind: Kind, value: bytes, line: bytes) -> None:
    if kind is Kind.TRANSFER_ENCODING:
        if response.chunked or response.minor == 0:
            response.fault = "Transfer-Encoding"
        elif value.lower() != b"chunked":
            # The body could be read to the end of the connection (RFC 9112 section 6.3), but not decoded.
            response.fault = "a transfer coding other than chunked"
        else:
            response.chunked = True
    elif kind is Kind.BUFFERING:
        response.unbuffered = value.lower() == b"no"
    elif kind is Kind.UPGRADE:
        value = value.lower()
        response.upgrade = value if response.upgrade is None else b"%s, %s" % (response.upgrade, value)
    elif kind is Kind.OFFLOAD:
        response.offload, response.offloaded = line.partition(b":")[0], value
    elif kind is Kind.TRAILER:
        response.trailer = value if response.trailer is None else b"%s, %s" % (response.trailer, value)
    elif kind is Kind.SET_COOKIE:
        response.private = True
        response.lines.append(line)
    elif kind is Kind.CHALLENGE:
        response.binding = response.binding or binds_connection(value)
        response.lines.append(line)
    elif kind is Kind.PROXY_CHALLENGE:
        response.binding = response.binding or binds_connection(value)
    else:  # Kind.WEBSOCKET_ACCEPT
        response.websocket_accept = value
        response.lines.append(line)
