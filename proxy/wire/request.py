"""Parsing request fields (RFC 9112 sections 5 and 6); `proxy.wire.request_line` parses the line before them.

A connection remembers its client's last head: repeated fields, or a repeated request (most programs send one), cost a
comparison of bytes instead of a parse, 4 of about 40 microseconds of a small request.
"""

import re
from collections.abc import Callable

from proxy import errors
from proxy.errors import ExchangeError
from proxy.wire.authentication import binds_connection
from proxy.wire.authority import AUTHORITIES
from proxy.wire.grammar import TOKEN
from proxy.wire.head import LENGTH, split_lines, tokens
from proxy.wire.names import PROTECTED, REQUEST_NAMES, Kind
from proxy.wire.request_line import HeadLimits

# Looking up a module's constant is faster than an enumeration's attribute, and this is done for every field.
FORWARD, DROP, CONNECTION, INVALID = Kind.FORWARD, Kind.DROP, Kind.CONNECTION, Kind.INVALID
AUTHORIZATION = Kind.AUTHORIZATION

_WEBSOCKET_KEY = re.compile(rb"[0-9A-Za-z+/]{22}==")
_PROTOCOL = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?")

_NO_TOKENS: frozenset[bytes] = frozenset()


class RequestFields:
    """The parsed fields of a request. Made by `parse_request_fields`, never changed afterwards.

    `lines` are the raw lines to forward unchanged; fields for framing and routing are attributes, forged ones are
    dropped.
    """

    __slots__ = (
        "accept",
        "binding",
        "chunked",
        "close",
        "content_length",
        "cookies",
        "expect",
        "forwarding_fields",
        "host",
        "keep_alive",
        "lines",
        "referer",
        "te_trailers",
        "unusual",
        "upgrades",
        "user_agent",
        "via",
        "websocket",
        "websocket_key",
        "websocket_version",
    )

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.host: bytes | None = None
        self.content_length: int | None = None
        self.chunked = False
        self.close = False
        self.keep_alive = False
        self.expect = False
        self.te_trailers = False
        self.upgrades: tuple[bytes, ...] = ()
        """The protocols that the client offers to upgrade to, as it spells them, those that it prefers first."""
        self.websocket = False
        """It has a whole handshake of WebSocket, which is among them."""
        self.websocket_key: bytes | None = None
        self.websocket_version = False
        self.referer: bytes | None = None
        self.user_agent: bytes | None = None
        self.accept: bytes | None = None
        self.via: bytes | None = None
        self.binding = False
        """It authenticates the connection (`proxy.wire.authentication`)."""
        self.cookies: tuple[bytes, ...] = ()
        """Cookie lines, until they are joined."""
        self.unusual: tuple[bytes, ...] = ()
        """Lines of fields with unusual names, which a route forwards or drops (`proxy.wire.unusual`)."""
        self.forwarding_fields: tuple[tuple[bytes, bytes], ...] = ()
        """Lower-cased names and values of the fields about the client."""

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)


def parse_request_fields(block: bytes, limits: HeadLimits, method: bytes = b"GET", minor: int = 1) -> RequestFields:
    """Parse the fields of a request; `block` is everything between the request line and the empty line.

    `method` and `minor` version say what it may be upgraded to. Raises `ExchangeError` (400, 417, 431 or 501) for
    whatever RFC 9112 sections 5 and 6 forbid or leave ambiguous.
    """
    fields = RequestFields()
    if not block:
        return fields
    lines = split_lines(block)
    if lines is None:
        raise ExchangeError(errors.LINE_ENDING)
    if len(lines) > limits.fields - limits.ADDED:
        raise limits.many_fields()
    if len(block) > limits.field and max(map(len, lines)) > limits.field:
        raise limits.long_field()
    interpreted: list[tuple[Kind, bytes, bytes]] = []
    keep = fields.lines.append
    try:
        for line in lines:
            name, value = line.split(b":", 1)
            kind = REQUEST_NAMES[name]
            if kind is FORWARD:
                keep(line)
            elif kind is AUTHORIZATION:
                _read_authorization(fields, value.strip(b" \t"), line)
            elif kind is not DROP:
                interpreted.append((kind, value.strip(b" \t"), line))
    except ValueError:
        raise ExchangeError(errors.FIELD_LINE, "no colon") from None
    nominated = _NO_TOKENS
    for kind, value, line in interpreted:
        if kind is CONNECTION:
            nominated |= _read_connection(fields, value)
        else:
            REQUEST_READERS[kind](fields, value, line)
    if fields.cookies:
        join_cookies(fields, limits)
    if nominated:
        _drop_nominated(fields, nominated)
    _check_request(fields, method, minor)
    return fields


def join_cookies(fields: RequestFields, limits: HeadLimits) -> None:
    """Join Cookie lines that a client split (RFC 9113 section 8.2.3); many applications would join them with a comma.

    Raises `ExchangeError` (431) if the line becomes too long.
    """
    first, *others = fields.cookies
    fields.cookies = ()
    line = b"; ".join([first, *(other.partition(b":")[2].strip(b" \t") for other in others)])
    if len(line) > limits.field:
        raise limits.long_field()
    fields.lines.append(line)


def check_trailers(block: bytes) -> None:
    """Check the trailer section of a chunked body before it is dropped (RFC 9112 section 7.1.2).

    Its fields have no use here. Raises `ExchangeError` (400) for anything but field lines.
    """
    lines = split_lines(block) if block else []
    if lines is None or not all(
        b":" in line and REQUEST_NAMES[line.partition(b":")[0]] is not INVALID for line in lines
    ):
        raise ExchangeError(errors.CHUNK, "trailer section")


def _read_connection(fields: RequestFields, value: bytes) -> frozenset[bytes]:
    """Apply the connection options. Returns the field names they nominate (RFC 9110 section 7.6.1)."""
    lowered = value.lower()
    if lowered == b"keep-alive":
        fields.keep_alive = True
        return _NO_TOKENS
    nominated = set(tokens(lowered)) - {b""}
    if b"close" in nominated:
        fields.close = True
    if b"keep-alive" in nominated:
        fields.keep_alive = True
    if b"upgrade" in nominated:
        fields.websocket = True
    return frozenset(nominated - {b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"} - PROTECTED)


def _drop_nominated(fields: RequestFields, nominated: frozenset[bytes]) -> None:
    fields.lines = [line for line in fields.lines if line.partition(b":")[0].lower() not in nominated]
    fields.unusual = tuple(line for line in fields.unusual if line.partition(b":")[0].lower() not in nominated)
    for name in (b"referer", b"user-agent"):
        if name in nominated:
            setattr(fields, name.decode().replace("-", "_"), None)


def _read_invalid(_fields: RequestFields, _value: bytes, _line: bytes) -> None:
    raise ExchangeError(errors.FIELD_LINE, "field name")


def _read_host(fields: RequestFields, value: bytes, _line: bytes) -> None:
    authority = AUTHORITIES[value]
    if fields.host is not None or authority is None:
        raise ExchangeError(errors.HOST)
    fields.host = authority.text


def _read_content_length(fields: RequestFields, value: bytes, _line: bytes) -> None:
    if fields.content_length is not None or not LENGTH.fullmatch(value):
        raise ExchangeError(errors.CONTENT_LENGTH)
    fields.content_length = int(value)


def _read_transfer_encoding(fields: RequestFields, value: bytes, _line: bytes) -> None:
    if fields.chunked:
        raise ExchangeError(errors.TRANSFER_ENCODING)
    if value.lower() != b"chunked":
        codings = tokens(value)
        # Unless chunked is last, and only once, the end of the body is undefined (RFC 9112 section 6.3).
        framed = codings[-1] == b"chunked" and codings.count(b"chunked") == 1 and b"" not in codings
        raise ExchangeError(errors.UNKNOWN_CODING if framed else errors.TRANSFER_ENCODING)
    fields.chunked = True


def _read_expect(fields: RequestFields, value: bytes, _line: bytes) -> None:
    if value.lower() != b"100-continue":
        raise ExchangeError(errors.EXPECT)
    fields.expect = True


def _read_upgrade(fields: RequestFields, value: bytes, _line: bytes) -> None:
    offered = [one.strip(b" \t") for one in value.split(b",")]
    fields.upgrades += tuple([one for one in offered if _PROTOCOL.fullmatch(one)])


def _read_te(fields: RequestFields, value: bytes, _line: bytes) -> None:
    fields.te_trailers = b"trailers" in tokens(value)


def _ignore(_fields: RequestFields, _value: bytes, _line: bytes) -> None:
    """A field that is dropped: Trailer, since request trailers are not forwarded."""


def _read_referer(fields: RequestFields, value: bytes, line: bytes) -> None:
    fields.referer = value
    fields.lines.append(line)


def _read_user_agent(fields: RequestFields, value: bytes, line: bytes) -> None:
    fields.user_agent = value
    fields.lines.append(line)


def _read_accept(fields: RequestFields, value: bytes, line: bytes) -> None:
    fields.accept = value
    fields.lines.append(line)


def _read_via(fields: RequestFields, value: bytes, line: bytes) -> None:
    fields.via = value if fields.via is None else b"%s, %s" % (fields.via, value)
    fields.lines.append(line)


def _read_authorization(fields: RequestFields, value: bytes, line: bytes) -> None:
    fields.binding = fields.binding or binds_connection(value)
    fields.lines.append(line)


def _read_cookie(fields: RequestFields, _value: bytes, line: bytes) -> None:
    fields.cookies += (line,)


def _read_unusual(fields: RequestFields, _value: bytes, line: bytes) -> None:
    fields.unusual += (line,)


def _read_claim(fields: RequestFields, value: bytes, line: bytes) -> None:
    fields.forwarding_fields += ((line.partition(b":")[0].lower(), value),)


def _read_websocket_key(fields: RequestFields, value: bytes, line: bytes) -> None:
    fields.websocket_key = value if fields.websocket_key is None else b""
    fields.lines.append(line)


def _read_websocket_version(fields: RequestFields, _value: bytes, line: bytes) -> None:
    fields.websocket_version = True
    fields.lines.append(line)


REQUEST_READERS: dict[Kind, Callable[[RequestFields, bytes, bytes], None]] = {
    Kind.INVALID: _read_invalid,
    Kind.HOST: _read_host,
    Kind.CONTENT_LENGTH: _read_content_length,
    Kind.TRANSFER_ENCODING: _read_transfer_encoding,
    Kind.EXPECT: _read_expect,
    Kind.UPGRADE: _read_upgrade,
    Kind.TE: _read_te,
    Kind.TRAILER: _ignore,
    Kind.REFERER: _read_referer,
    Kind.USER_AGENT: _read_user_agent,
    Kind.ACCEPT: _read_accept,
    Kind.AUTHORIZATION: _read_authorization,
    Kind.CLAIM: _read_claim,
    Kind.VIA: _read_via,
    Kind.COOKIE: _read_cookie,
    Kind.UNUSUAL: _read_unusual,
    Kind.WEBSOCKET_KEY: _read_websocket_key,
    Kind.WEBSOCKET_VERSION: _read_websocket_version,
}


def _check_request(fields: RequestFields, method: bytes, minor: int) -> None:
    if fields.chunked and fields.content_length is not None:
        raise ExchangeError(errors.LENGTH_AND_ENCODING)
    if fields.close:
        fields.keep_alive = False  # takes precedence (RFC 9112 section 9.3)
    if fields.upgrades:
        _check_upgrades(fields, method, minor)
    else:
        fields.websocket = False


def _check_upgrades(fields: RequestFields, method: bytes, minor: int) -> None:
    """Whether the client may upgrade (RFC 9110 section 7.8, RFC 6455 section 4.1)."""
    named = fields.websocket  # by its Connection field
    websocket = (
        named
        and fields.websocket_version
        and fields.websocket_key is not None
        and _WEBSOCKET_KEY.fullmatch(fields.websocket_key) is not None
        and any(one.lower() == b"websocket" for one in fields.upgrades)
    )
    if websocket and fields.has_body:
        raise ExchangeError(errors.UPGRADE_BODY)
    fields.websocket = websocket and method == b"GET" and minor == 1
    if not named or minor != 1:
        fields.upgrades = ()
