"""Under what a response is stored: all that the application was sent for it.

Two requests share a response if their applications were sent the same bytes, but for the client's address. So no field
can change a response that others get: either it is part of the key, or the application was not sent it.

Most fields of browsers tell of the client what few pages depend on: its version, its languages, its cookies. Once the
application has said in Vary which of these a resource depends on, it is sent the others no more in requests whose
responses are for all (`shared`). The first request for a resource, and those whose responses turn out to need more, are
sent as they are, and so are their responses stored: for requests that are the same in every field (`whole`).
"""

import re
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import Final

from proxy.exchange.request import Request
from proxy.wire.head import CRLF, tokens
from proxy.wire.via import Via

_CONDITIONAL: Final = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"}
)
"""Applied to the stored response, and never sent."""
_ABOUT_CLIENTS: Final = frozenset({b"x-forwarded-for", b"x-real-ip", b"forwarded"})
"""What the gateway says of the client: for the application's log."""
_PERSONAL: Final = frozenset(
    {
        b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"authorization", b"cache-control",
        b"cdn-loop", b"connection", b"cookie", b"device-memory", b"dnt", b"downlink", b"dpr", b"ect", b"from",
        b"max-forwards", b"pragma", b"priority", b"purpose", b"referer", b"rtt", b"save-data", b"te",
        b"true-client-ip", b"upgrade-insecure-requests", b"user-agent", b"via", b"viewport-width", b"width",
        b"x-client-data", b"x-purpose",
    }
)  # fmt: skip
_PERSONAL_FAMILIES: Final = (b"sec-", b"cf-", b"x-amz-cf-", b"cloudfront-", b"fastly-", b"x-moz")
"""Fields that differ from client to client, and that few pages depend on. All others are always part of the key."""
UNUSED: Final = frozenset(
    {b"cookie", b"authorization", b"cf-access-jwt-assertion", b"cf-access-authenticated-user-email"}
)
"""Fields of users: responses to requests without them are for others only if the application says that they are."""
_CODINGS: Final = (b"zstd", b"br", b"gzip")
_REFUSED: Final = re.compile(rb";[ \t]*q=0(?:\.0*)?$")


def is_personal(name: bytes) -> bool:
    """Whether the application is sent a field of this lower-case name only if it depends on it."""
    return name in _PERSONAL or name.startswith(_PERSONAL_FAMILIES)


def can_vary(names: AbstractSet[bytes]) -> bool:
    """Whether a response that depends on these fields can be shared at all."""
    return not names & (_ABOUT_CLIENTS | _CONDITIONAL | {b"via"})


def whole(request: Request) -> Request:
    """The request as it is, but for its conditions."""
    lines = [line for line in request.block.split(CRLF)[:-1] if _name(line) not in _CONDITIONAL]
    return _with(request, lines)


def shared(request: Request, names: AbstractSet[bytes], via: Via) -> Request:
    """The request without what differs from client to client, unless it is among `names`."""
    lines = [_for_all(line, request, names) for line in request.block.split(CRLF)[:-1]]
    more = via.lines[1]
    return _with(request, [line for line in (*lines, more.removesuffix(CRLF)) if line])


def digest(route: bytes, sent: Request, via: Via, *, clients: bool) -> bytes:
    """The key of what the application is sent; `clients`: with what it says of the client.

    The gateway's own line of Via is left out: it is another one after each start.
    """
    own = {line.removesuffix(CRLF) for line in via.lines}
    lines = [line if clients else _without_client(line) for line in sent.block.split(CRLF) if line not in own]
    return blake2b(b"\0".join((route, sent.target, *lines)), digest_size=16).digest()


def url(request: Request) -> bytes:
    """The address that the client asked for."""
    return b"%s://%s%s" % (request.scheme, (request.host or b"").lower(), request.target)


def _for_all(line: bytes, request: Request, names: AbstractSet[bytes]) -> bytes:
    """A field line as all clients' requests have it; nothing for one that they do not."""
    name = _name(line)
    if name in _CONDITIONAL or (is_personal(name) and name not in names):
        return b""
    if name == b"accept-encoding":
        return _codings(line)
    if name == b"x-forwarded-for":
        return b"X-Forwarded-For: " + (request.client.partition("%")[0].encode("latin-1") or b"unknown")
    if name == b"forwarded":
        return b"Forwarded: " + line.rpartition(b", ")[2].removeprefix(b"Forwarded: ")
    return line


def _without_client(line: bytes) -> bytes:
    """What a field line of a request for all says of the request itself: of Forwarded its scheme and its host."""
    if _name(line) not in _ABOUT_CLIENTS:
        return line
    return line.partition(b";")[2] if _name(line) == b"forwarded" else b""


def _with(request: Request, lines: list[bytes]) -> Request:
    return request.sent_as(request.target, b"".join([line + CRLF for line in lines]))


def _codings(line: bytes) -> bytes:
    """The field with the codings alone that applications use, in one order: most clients then ask for the same."""
    asked = tokens(line.partition(b":")[2])
    accepts = {token.partition(b";")[0].strip(b" \t"): not _REFUSED.search(token) for token in asked}
    known = [coding for coding in _CODINGS if accepts.get(coding, accepts.get(b"*", False))]
    return b"Accept-Encoding: " + b", ".join(known) if known else b""


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()
