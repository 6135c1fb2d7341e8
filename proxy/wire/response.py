"""Parsing response heads (RFC 9112 sections 4 to 6)."""

import re

from proxy import errors
from proxy.errors import ExchangeError
from proxy.wire.head import LENGTH, split_lines, tokens
from proxy.wire.names import PROTECTED, RESPONSE_NAMES, Kind

# A module's constant is found faster than an attribute of an enumeration, and every field of every head is compared.
FORWARD, DROP, CONNECTION = Kind.FORWARD, Kind.DROP, Kind.CONNECTION
CONTENT_LENGTH, CONTENT_TYPE, DATE = Kind.CONTENT_LENGTH, Kind.CONTENT_TYPE, Kind.DATE

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (.*))?")
_STATUSES: dict[bytes, tuple[int, int, bytes]] = {}
_MOST_STATUSES = 256
_NO_TOKENS: frozenset[bytes] = frozenset()


class ResponseHead:
    """The head of an upstream's answer. Made by `parse_response_head`, never changed afterwards."""

    __slots__ = (
        "chunked",
        "close",
        "content_length",
        "dated",
        "event_stream",
        "lines",
        "minor",
        "reason",
        "status",
        "unbuffered",
        "until_close",
        "upgrade",
        "websocket_accept",
    )

    def __init__(self, minor: int, status: int, reason: bytes) -> None:
        self.minor = minor
        self.status = status
        self.reason = reason
        self.lines: list[bytes] = []
        self.content_length: int | None = None
        self.chunked = False
        self.until_close = False
        self.close = minor == 0
        self.dated = False
        self.unbuffered = False
        self.event_stream = False
        self.upgrade: bytes | None = None
        self.websocket_accept: bytes | None = None


def parse_response_head(head: bytes) -> ResponseHead:
    """The head of a response; `head` is everything before the empty line.

    Raises `ExchangeError` (502) for anything ambiguous: an answer that two readers may understand differently is
    never passed on (RFC 9112 sections 4 to 6).
    """
    lines = split_lines(head)
    if lines is None:
        raise _bad_response("a control character or a bare CR or LF in the head")
    response = ResponseHead(*_status(lines[0]))
    keep = response.lines.append
    names = RESPONSE_NAMES
    nominated = _NO_TOKENS
    first = True
    try:
        for line in lines:
            if first:
                first = False
                continue
            name, value = line.split(b":", 1)
            kind = names[name]
            if kind is FORWARD:
                keep(line)
            elif kind is CONTENT_LENGTH:
                value = value.strip(b" \t")
                if response.content_length is not None or not LENGTH.fullmatch(value):
                    raise _bad_response("Content-Length")
                response.content_length = int(value)
            elif kind is DATE:
                response.dated = True
                keep(line)
            elif kind is CONTENT_TYPE:
                response.event_stream = value.lstrip(b" \t")[:17].lower() == b"text/event-stream"
                keep(line)
            elif kind is CONNECTION:
                nominated |= _read_response_connection(response, value)
            elif kind is not DROP:
                _read_response_field(response, kind, value.strip(b" \t"), line)
    except ValueError:
        raise _bad_response("a field line without a colon") from None
    if nominated:
        response.lines = [line for line in response.lines if line.partition(b":")[0].lower() not in nominated]
    if response.chunked and response.content_length is not None:
        raise _bad_response("Content-Length and Transfer-Encoding together")
    return response


def _status(line: bytes) -> tuple[int, int, bytes]:
    """Minor version, status and reason of a status line; the few that an application uses are remembered."""
    known = _STATUSES.get(line)
    if known is not None:
        return known
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise _bad_response("status line")
    minor, status, reason = match.groups(b"")
    found = (int(minor), int(status), reason)
    if len(_STATUSES) < _MOST_STATUSES:
        _STATUSES[line] = found
    return found


def _bad_response(detail: str) -> ExchangeError:
    return ExchangeError(errors.BAD_RESPONSE, detail)


def _read_response_connection(response: ResponseHead, value: bytes) -> frozenset[bytes]:
    lowered = value.strip(b" \t").lower()
    if lowered == b"keep-alive":
        response.close = False
        return _NO_TOKENS
    options = set(tokens(lowered)) - {b""}
    if b"close" in options:
        response.close = True
    elif b"keep-alive" in options:
        response.close = False
    return frozenset(options - {b"close", b"keep-alive", b"upgrade"} - PROTECTED)


def _read_response_field(response: ResponseHead, kind: Kind, value: bytes, line: bytes) -> None:
    if kind is Kind.TRANSFER_ENCODING:
        if response.chunked or response.until_close or response.minor == 0:
            raise _bad_response("Transfer-Encoding")
        if value.lower() == b"chunked":
            response.chunked = True
        elif b"chunked" in tokens(value):
            raise _bad_response("Transfer-Encoding")
        else:
            # RFC 9112 section 6.3: a coding that does not end in chunked lasts until the connection closes.
            raise _bad_response("a transfer coding other than chunked")
    elif kind is Kind.BUFFERING:
        response.unbuffered = value.lower() == b"no"
    elif kind is Kind.UPGRADE:
        response.upgrade = value.lower()
    elif kind is Kind.WEBSOCKET_ACCEPT:
        response.websocket_accept = value
        response.lines.append(line)
    elif kind is Kind.INVALID:
        raise _bad_response("field name")
