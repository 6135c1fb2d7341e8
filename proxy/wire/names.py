"""Field names: which are valid, which are forwarded unchanged, which the gateway handles.

Each raw spelling of a name is classified once and remembered, so a head costs one dictionary look-up per field.
The memory is bounded: a client that invents names only makes its own requests slower.
"""

import re
from enum import IntEnum

from proxy.wire.grammar import is_token

_PLAIN = re.compile(rb"[0-9A-Za-z-]+")
_REMEMBERED = 2048
_LONGEST_REMEMBERED = 64


class Kind(IntEnum):
    """What the gateway does with a field."""

    FORWARD = 0  # forwarded unchanged
    DROP = 1  # hop-by-hop, forged forwarding fields, names that CGI-like servers confuse with variables
    INVALID = 2  # not a token: the head is refused
    HOST = 3
    CONTENT_LENGTH = 4
    TRANSFER_ENCODING = 5
    CONNECTION = 6
    EXPECT = 7
    UPGRADE = 8
    TE = 9
    TRAILER = 10
    REFERER = 12
    USER_AGENT = 13
    ACCEPT = 14
    WEBSOCKET_KEY = 16
    WEBSOCKET_VERSION = 17
    WEBSOCKET_ACCEPT = 18
    DATE = 19
    BUFFERING = 20
    CONTENT_TYPE = 21
    SET_COOKIE = 22
    CLAIM = 23  # about the client: forwarded as far as it is trusted
    OFFLOAD = 24  # asks a proxy to respond with a file or another URL
    VIA = 25
    AUTHORIZATION = 26
    CHALLENGE = 27
    PROXY_CHALLENGE = 28  # hop-by-hop, but identifies connection-based authentication
    COOKIE = 29
    UNUSUAL = 30  # characters other than letters, digits and "-" (`proxy.wire.unusual`)


# Removed from every message: RFC 9110 section 7.6.1, plus non-standard ones of browsers and old proxies.
_HOP_BY_HOP = {"keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "http2-settings"}

# Evaluated by `proxy.wire.forwarding` and `proxy.wire.tracing`.
_CLAIMS = {
    "forwarded",
    "traceparent",
    "tracestate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
}

# Never taken from a client: only the gateway sets these.
_FORWARDING = {
    "front-end-https",
    "x-forwarded",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
}

# Only the gateway sets fields with these prefixes.
_FORWARDING_PREFIXES = ("x-forwarded-", "x-client-cert", "x-ssl-client", "client-cert")

# Become environment variables that an application trusts (the "httpoxy" family).
_CGI = {"proxy", "script-name", "path-info", "remote-user", "remote-addr"}

_REQUEST = (
    dict.fromkeys(_HOP_BY_HOP | _FORWARDING | _CGI, Kind.DROP)
    | dict.fromkeys(_CLAIMS, Kind.CLAIM)
    | {
        "host": Kind.HOST,
        "authorization": Kind.AUTHORIZATION,
        "content-length": Kind.CONTENT_LENGTH,
        "transfer-encoding": Kind.TRANSFER_ENCODING,
        "connection": Kind.CONNECTION,
        "expect": Kind.EXPECT,
        "upgrade": Kind.UPGRADE,
        "te": Kind.TE,
        "trailer": Kind.TRAILER,
        "referer": Kind.REFERER,
        "user-agent": Kind.USER_AGENT,
        "accept": Kind.ACCEPT,
        "sec-websocket-key": Kind.WEBSOCKET_KEY,
        "sec-websocket-version": Kind.WEBSOCKET_VERSION,
        "via": Kind.VIA,
        "cookie": Kind.COOKIE,
    }
)

# Instructions of applications to other proxies; clients must not see internal paths.
_TO_PROXIES = {"x-accel-expires", "x-accel-limit-rate", "x-accel-charset"}
_OFFLOADS = {
    "x-accel-redirect",
    "x-sendfile",
    "x-lighttpd-send-file",
    "x-litespeed-location",
    "x-reproxy-file",
    "x-reproxy-url",
}

_RESPONSE = (
    dict.fromkeys(_HOP_BY_HOP | _TO_PROXIES | {"te"}, Kind.DROP)
    | dict.fromkeys(_OFFLOADS, Kind.OFFLOAD)
    | {
        "content-length": Kind.CONTENT_LENGTH,
        "transfer-encoding": Kind.TRANSFER_ENCODING,
        "connection": Kind.CONNECTION,
        "upgrade": Kind.UPGRADE,
        "trailer": Kind.TRAILER,
        "sec-websocket-accept": Kind.WEBSOCKET_ACCEPT,
        "date": Kind.DATE,
        "x-accel-buffering": Kind.BUFFERING,
        "content-type": Kind.CONTENT_TYPE,
        "set-cookie": Kind.SET_COOKIE,
        "www-authenticate": Kind.CHALLENGE,
        "proxy-authenticate": Kind.PROXY_CHALLENGE,
    }
)

# Never removed because a client nominates them in Connection: framing, routing, credentials and our own fields.
PROTECTED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie", b"x-request-id", b"content-type"}
)


class Names(dict[bytes, Kind]):
    """The classification of raw field names for one direction, remembered."""

    def __init__(self, known: dict[str, Kind], *, from_client: bool) -> None:
        super().__init__()
        self._known = known
        self._from_client = from_client
        for name in known:
            self[name.encode()]
            self[name.title().encode()]

    def __missing__(self, name: bytes) -> Kind:
        kind = self._classify(name)
        if len(self) < _REMEMBERED and len(name) <= _LONGEST_REMEMBERED:
            self[name] = kind
        return kind

    def _classify(self, name: bytes) -> Kind:
        if not is_token(name):
            return Kind.INVALID
        if self._from_client and not _PLAIN.fullmatch(name):
            return Kind.UNUSUAL
        lowered = name.decode("ascii").lower()
        kind = self._known.get(lowered, Kind.FORWARD)
        if kind is Kind.FORWARD and self._from_client and lowered.startswith(_FORWARDING_PREFIXES):
            return Kind.DROP
        return kind


REQUEST_NAMES = Names(_REQUEST, from_client=True)
RESPONSE_NAMES = Names(_RESPONSE, from_client=False)
