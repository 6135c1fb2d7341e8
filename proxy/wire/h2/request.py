"""Requests of HTTP/2 as field sections (RFC 9113 section 8), made into what HTTP/1 knows.

A request passes the same checks as one of HTTP/1: its method and path go through `parse_request_line`, its fields
become the lines of a `RequestFields`, so that the upstream sees no difference. What only HTTP/2 can get wrong raises
`Malformed`, which ends that stream (RFC 9113 section 8.1.1); what HTTP/1 could have said as well raises
`ExchangeError` and is answered.
"""

import base64
import os
from typing import Final

from proxy import errors
from proxy.errors import ExchangeError
from proxy.wire.authority import AUTHORITIES
from proxy.wire.h2.tables import OVERHEAD, Field, Section
from proxy.wire.head import LINE_BYTES
from proxy.wire.memo import BoundedMemo
from proxy.wire.names import REQUEST_NAMES, Kind
from proxy.wire.request import REQUEST_READERS, RequestFields, join_cookies
from proxy.wire.request_line import SLASH, HeadLimits, is_same_host, parse_request_line
from proxy.wire.upgrade import WEBSOCKET

_PSEUDO: Final = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
_SCHEMES: Final = frozenset({b"http", b"https"})
_SECRET: Final = frozenset({b"authorization", b"cookie"})

_HOP_BY_HOP: Final = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Fields that HTTP/2 has no use for: their presence is an error (RFC 9113 section 8.2.2)."""

_LONGEST_REMEMBERED: Final = 256


class Malformed(Exception):  # noqa: N818 - names what the request is
    """A request that is not HTTP/2 (RFC 9113 section 8.1.1): its stream is reset."""


class PseudoFields:
    """The pseudo-header fields of a request, None where one is missing, and the regular fields behind them."""

    __slots__ = ("authority", "method", "path", "protocol", "regular", "scheme")

    def __init__(self, section: Section) -> None:
        """Raises `Malformed` for one that is unknown or repeated (RFC 9113 section 8.3)."""
        found: dict[bytes, bytes] = {}
        for name, value in section:
            if name[:1] != b":":
                break
            if name not in _PSEUDO or name in found:
                raise Malformed("a pseudo-header field is unknown or repeated")
            found[name] = value
        self.method = found.get(b":method")
        self.scheme = found.get(b":scheme")
        self.authority = found.get(b":authority")
        self.path = found.get(b":path")
        self.protocol = found.get(b":protocol")
        self.regular = section[len(found) :]


class RequestHead:
    """What the field section of a request says; an extended CONNECT (RFC 8441) has become the GET it stands for, which
    offers to upgrade to its protocol."""

    __slots__ = ("fields", "host", "method", "scheme", "target")

    def __init__(self, method: bytes, target: bytes, scheme: bytes, host: bytes, fields: RequestFields) -> None:
        self.method = method
        self.target = target
        self.scheme = scheme
        self.host = host
        self.fields = fields

    def is_framed_alike(self, *, whole: bool) -> bool:
        """Whether the same fields frame the body of another request in the same way."""
        return self.fields.content_length is not None or self.fields.chunked != whole


def parse_request_head(
    pseudo: PseudoFields, limits: HeadLimits, known: RequestHead | None = None, *, whole: bool
) -> RequestHead:
    """The head that a request's field section makes; `whole` says that no body follows.

    `known` is the last one that the same client sent with the same regular fields and authority, or None: then the
    fields need not be read again. Raises `Malformed` or `ExchangeError`.
    """
    method, scheme, path = pseudo.method, pseudo.scheme, pseudo.path
    if method is None:
        raise Malformed("no :method")
    protocol = pseudo.protocol
    if method == b"CONNECT":
        if protocol is None:
            raise ExchangeError(errors.METHOD, "CONNECT")
        method = b"GET"
    elif protocol is not None:
        raise Malformed(":protocol without CONNECT")
    if not path or scheme is None:
        raise Malformed("no :scheme or no :path")
    if scheme not in _SCHEMES:
        raise Malformed(":scheme")
    method, target, _ = parse_request_line(b"%s %s HTTP/1.1" % (method, path), limits)
    if target[0] != SLASH and not (target == b"*" and method == b"OPTIONS"):
        raise ExchangeError(errors.TARGET)
    if known is not None and protocol is None and known.scheme == scheme and known.is_framed_alike(whole=whole):
        fields, host = known.fields, known.host
    else:
        fields = _parse_fields(pseudo.regular, limits)
        host = _host(scheme, pseudo.authority, fields.host)
        if protocol is not None:
            _prepare_upgrade(fields, protocol)
        else:
            fields.chunked = not whole and fields.content_length is None
    if whole and fields.content_length:
        raise Malformed("a length without a body")
    return RequestHead(method, target, scheme, host, fields)


def _prepare_upgrade(fields: RequestFields, protocol: bytes) -> None:
    """Make the fields those of an upgrade in HTTP/1, where a WebSocket has a key (RFC 8441 section 5)."""
    if fields.content_length is not None:
        raise ExchangeError(errors.UPGRADE_BODY)
    REQUEST_READERS[Kind.UPGRADE](fields, protocol, b"")
    if fields.upgrades != (protocol,):
        raise ExchangeError(errors.PROTOCOL)
    if protocol != WEBSOCKET:
        return
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


class _Fields(BoundedMemo[Field, tuple[Kind, bytes]]):
    """Fields that were found valid: what the gateway does with each, and its line in HTTP/1. Emptied when full."""

    def __missing__(self, field: Field) -> tuple[Kind, bytes]:
        name, value = field
        found = _classify(name, value), b"%s: %s" % (name, value)
        if len(found[1]) <= _LONGEST_REMEMBERED and name not in _SECRET:
            self.remember(field, found)
        return found


_known_fields: Final = _Fields(4096)


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


def _parse_fields(regular: Section, limits: HeadLimits) -> RequestFields:
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
    if size + OVERHEAD * len(regular) > limits.block:
        raise limits.large_block()
    if fields.cookies:
        join_cookies(fields, limits)
    return fields


def check_request_trailers(section: Section) -> None:
    """Look at the trailers of a request before they are dropped. Raises `Malformed` (RFC 9113 sections 8.1, 8.2).

    Well-formed ones have no further use here (RFC 9110 section 6.5.1).
    """
    for name, value in section:
        if name[:1] == b":":
            raise Malformed("a pseudo-header field among the trailers")
        _classify(name, value)
