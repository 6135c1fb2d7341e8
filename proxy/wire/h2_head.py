"""Heads of HTTP/2 (RFC 9113 section 8): requests made into what HTTP/1 knows, responses into field tuples.

A request passes the same checks as one of HTTP/1: its method and path go through `parse_request_line`, its fields
become the lines of a `RequestFields`, so that the upstream sees no difference. What only HTTP/2 can get wrong raises
`Malformed`, which ends that stream (RFC 9113 section 8.1.1); what HTTP/1 could have said as well raises
`ExchangeError` and is answered.

The `h2` library's own checks of request heads are switched off: they end the whole connection where the RFC asks for
the stream, and look at each character from Python.
"""

import base64
import os
from collections.abc import Iterable, Sequence

from hpack import HeaderTuple, NeverIndexedHeaderTuple

from proxy import errors
from proxy.errors import ExchangeError
from proxy.wire.authority import AUTHORITIES
from proxy.wire.head import CRLF, LINE_BYTES
from proxy.wire.names import REQUEST_NAMES, Kind
from proxy.wire.request import REQUEST_READERS, RequestFields, join_cookies
from proxy.wire.request_line import SLASH, HeadLimits, is_same_host, parse_request_line
from proxy.wire.response import ResponseHead

Field = tuple[bytes, bytes]

_COLON = 0x3A
_FIELD_OVERHEAD = 32  # RFC 9113 section 6.5.2
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
_SCHEMES = frozenset({b"http", b"https"})
_SECRET = frozenset({b"authorization", b"cookie"})

_HOP_BY_HOP = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Fields that HTTP/2 has no use for: their presence is an error (RFC 9113 section 8.2.2)."""

_MOST_REMEMBERED = 4096
_LONGEST_REMEMBERED = 256
_MOST_SECTIONS = 512
_LONGEST_HEAD = 1024


class Malformed(Exception):  # noqa: N818 - names what the request is
    """A request that is not HTTP/2 (RFC 9113 section 8.1.1): its stream is reset."""


class RequestHead:
    """What the field section of a request says; an extended CONNECT (RFC 8441) has become the GET it stands for."""

    __slots__ = ("fields", "host", "method", "scheme", "target")

    def __init__(self, method: bytes, target: bytes, scheme: bytes, host: bytes, fields: RequestFields) -> None:
        self.method = method
        self.target = target
        self.scheme = scheme
        self.host = host
        self.fields = fields


def parse_request_head(section: Sequence[Field], limits: HeadLimits, known: RequestHead | None) -> RequestHead:
    """The head that a request's field section makes.

    `known` is the last one that the same client sent with the same regular fields and authority, or None: then the
    fields need not be read again. Raises `Malformed` or `ExchangeError`.
    """
    pseudo, fields_from = _pseudo_fields(section)
    method = pseudo.get(b":method")
    if method is None:
        raise Malformed("no :method")
    websocket = method == b"CONNECT"
    if websocket:
        method = _check_connect(pseudo)
    elif b":protocol" in pseudo:
        raise Malformed(":protocol without CONNECT")
    scheme, path = pseudo.get(b":scheme"), pseudo.get(b":path")
    if not path or scheme is None:
        raise Malformed("no :scheme or no :path")
    if scheme not in _SCHEMES:
        raise Malformed(":scheme")
    method, target, _ = parse_request_line(b"%s %s HTTP/1.1" % (method, path), limits)
    if target[0] != SLASH and not (target == b"*" and method == b"OPTIONS"):
        raise ExchangeError(errors.TARGET)
    if known is not None and not websocket and known.scheme == scheme:
        return RequestHead(method, target, scheme, known.host, known.fields)
    fields = _parse_fields(section[fields_from:], limits)
    host = _host(scheme, pseudo.get(b":authority"), fields.host)
    if websocket:
        _prepare_websocket(fields)
    return RequestHead(method, target, scheme, host, fields)


def _pseudo_fields(section: Sequence[Field]) -> tuple[dict[bytes, bytes], int]:
    """The pseudo-header fields, and where the regular ones begin (RFC 9113 section 8.3)."""
    pseudo: dict[bytes, bytes] = {}
    for index, (name, value) in enumerate(section):
        if not name or name[0] != _COLON:
            return pseudo, index
        if name not in _PSEUDO or name in pseudo:
            raise Malformed("a pseudo-header field is unknown or repeated")
        pseudo[name] = value
    return pseudo, len(section)


def regular_fields(section: Sequence[Field]) -> tuple[Sequence[Field], bytes | None]:
    """The regular fields and the authority of a field section that was found valid: what `known` depends on."""
    authority = None
    for index, (name, value) in enumerate(section):
        if name[:1] != b":":
            return section[index:], authority
        if name == b":authority":
            authority = value
    return (), authority


def _check_connect(pseudo: dict[bytes, bytes]) -> bytes:
    """The method that carries an extended CONNECT to the upstream (RFC 8441 section 4)."""
    protocol = pseudo.get(b":protocol")
    if protocol is None:
        raise ExchangeError(errors.METHOD, "CONNECT")
    if protocol != b"websocket":
        raise ExchangeError(errors.PROTOCOL)
    return b"GET"


def _prepare_websocket(fields: RequestFields) -> None:
    """The handshake of HTTP/1 needs a key, which HTTP/2 leaves out (RFC 8441 section 5)."""
    if fields.content_length is not None:
        raise ExchangeError(errors.UPGRADE_BODY)
    key = base64.b64encode(os.urandom(16))
    fields.lines = [line for line in fields.lines if not line.startswith(b"sec-websocket-key:")]
    fields.lines.append(b"Sec-WebSocket-Key: " + key)
    fields.websocket = True
    fields.websocket_key = key


def _host(scheme: bytes, named: bytes | None, host: bytes | None) -> bytes:
    """The one host that a request names (RFC 9113 section 8.3.1)."""
    if named is None:
        if host is None:
            raise ExchangeError(errors.HOST, "missing")
        return host
    authority = AUTHORITIES[named]
    if authority is None:
        raise ExchangeError(errors.HOST, "in :authority")
    if host is not None and not is_same_host(authority, host, scheme):
        raise ExchangeError(errors.HOST, "differs from :authority")
    return authority.text


class _Fields(dict[Field, tuple[Kind, bytes]]):
    """Fields that were found valid: what the gateway does with each, and its line in HTTP/1. Emptied when full."""

    def __missing__(self, field: Field) -> tuple[Kind, bytes]:
        name, value = field
        found = _classify(name, value), b"%s: %s" % (name, value)
        if len(found[1]) <= _LONGEST_REMEMBERED and name not in _SECRET:
            if len(self) >= _MOST_REMEMBERED:
                self.clear()
            self[field] = found
        return found


_known_fields = _Fields()


def _classify(name: bytes, value: bytes) -> Kind:
    """Raises `Malformed` for what RFC 9113 sections 8.2.1 and 8.2.2 forbid."""
    kind = REQUEST_NAMES[name]
    if kind is Kind.INVALID or name != name.lower():
        raise Malformed("a field name")
    if value.translate(None, LINE_BYTES) or value != value.strip(b" \t"):
        raise Malformed("a field value")
    if name in _HOP_BY_HOP or (kind is Kind.TE and value.lower() != b"trailers"):
        raise Malformed("a connection-specific field")
    return kind


def _parse_fields(regular: Sequence[Field], limits: HeadLimits) -> RequestFields:
    fields = RequestFields()
    if len(regular) > limits.fields - limits.ADDED:
        raise limits.many_fields()
    keep = fields.lines.append
    size = 0
    for field in regular:
        kind, line = _known_fields[field]
        size += len(line)
        if len(line) > limits.field:
            raise limits.long_field()
        if kind is Kind.FORWARD:
            keep(line)
        elif kind is not Kind.DROP:
            REQUEST_READERS[kind](fields, field[1], line)
    if size + _FIELD_OVERHEAD * len(regular) > limits.block:
        raise limits.large_block()
    if fields.cookies:
        join_cookies(fields, limits)
    return fields


def check_request_trailers(section: Sequence[Field]) -> None:
    """Look at the trailers of a request before they are dropped. Raises `Malformed` (RFC 9113 sections 8.1, 8.2).

    What well-formed fields say matters to nobody (RFC 9110 section 6.5.1).
    """
    for name, value in section:
        if name[:1] == b":":
            raise Malformed("a pseudo-header field among the trailers")
        _classify(name, value)


class _Lines(dict[bytes, HeaderTuple]):
    """Lines of responses as tuples. Emptied when full.

    What was not seen before may never come again: it is kept out of the compression context, whose entries the
    encoder compares one by one, and joins it the second time. Cookies stay out for good (RFC 7541 section 7.1.3).
    """

    def __missing__(self, line: bytes) -> HeaderTuple:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if len(line) <= _LONGEST_REMEMBERED and name != b"set-cookie":
            if len(self) >= _MOST_REMEMBERED:
                self.clear()
            self[line] = HeaderTuple(name, value)
        return NeverIndexedHeaderTuple(name, value)


_known_lines = _Lines()


def field_tuples(lines: Iterable[bytes]) -> list[Field]:
    """Field lines of HTTP/1, which were checked before, as HTTP/2 wants them."""
    return [_known_lines[line] for line in lines]


_STATUSES = {status: HeaderTuple(b":status", b"%d" % status) for status in range(100, 1000)}


_known_sections: dict[tuple[bytes, int | None, bytes | None], tuple[Field, ...]] = {}


def response_section(response: ResponseHead, length: int | None, date: bytes | None) -> Sequence[Field]:
    """The field section of a response; `length` and `date` stand where the upstream's own do not."""
    key = (response.start, length, date)
    section = _known_sections.get(key)
    if section is None:
        fields = [_STATUSES[response.status], *field_tuples(response.start.split(CRLF)[1:-1])]
        if length is not None:
            fields.append(_known_lines[b"content-length: %d" % length])
        if date is not None:
            fields.append(_known_lines[b"date: " + date])
        section = tuple(fields)
        if len(response.start) <= _LONGEST_HEAD and all(
            isinstance(field, HeaderTuple) and field.indexable for field in section
        ):
            if len(_known_sections) >= _MOST_SECTIONS:
                _known_sections.clear()
            _known_sections[key] = section
    return section


def upgrade_section(response: ResponseHead) -> list[Field]:
    """What answers an extended CONNECT when the upstream has switched protocols (RFC 8441 section 5)."""
    fields = field_tuples(response.start.split(CRLF)[1:-1])
    return [_STATUSES[200], *[field for field in fields if field[0] != b"sec-websocket-accept"]]
