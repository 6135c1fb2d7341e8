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
from proxy.wire.memo import BoundedMemo
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
_LONGEST_REMEMBERED: Final = 256
_known_codings: Final[BoundedMemo[bytes, bytes]] = BoundedMemo(256)
_REFUSED: Final = re.compile(rb";[ \t]*q=0(?:\.0*)?$")


def is_personal(name: bytes) -> bool:
    """Whether the application is sent a field of this lower-case name only if it depends on it."""
    return name in _PERSONAL or name.startswith(_PERSONAL_FAMILIES)


def can_vary(names: AbstractSet[bytes]) -> bool:
    """Whether a response that depends on these fields can be shared at all."""
    return not names & (_ABOUT_CLIENTS | _CONDITIONAL | {b"via"})


class Name:
    """A field's name, and what it means for keys."""

    __slots__ = ("about_client", "conditional", "lower", "made", "personal")

    def __init__(self, name: bytes) -> None:
        self.lower = name.lower()
        self.conditional = self.lower in _CONDITIONAL
        self.personal = is_personal(self.lower)
        self.about_client = self.lower in _ABOUT_CLIENTS
        self.made = _MADE.get(self.lower)
        """What makes the line of shared requests of a client's."""


Fields = list[tuple[Name, bytes]]
"""Names, and the lines with them."""


def fields_of(block: bytes) -> Fields:
    """The fields that an application is sent."""
    found = []
    for line in block.split(CRLF)[:-1]:
        text = line.partition(b":")[0]
        name = _known_names.get(text)
        if name is None:
            name = Name(text)
            if len(text) <= _LONGEST_REMEMBERED:
                _known_names.remember(text, name)
        found.append((name, line))
    return found


def is_plain(fields: Fields) -> bool:
    """Whether a request has no conditions."""
    return not any(name.conditional for name, _ in fields)


def whole(fields: Fields) -> Fields:
    """Those of the request as it is, but for its conditions."""
    return [field for field in fields if not field[0].conditional]


def shared(request: Request, fields: Fields, names: AbstractSet[bytes], via: Via) -> Fields:
    """Those of the request without what differs from client to client, unless it is among `names`."""
    found = []
    for name, line in fields:
        if name.conditional or (name.personal and name.lower not in names):
            continue
        kept = line if name.made is None else name.made(line, request)
        if kept:
            found.append((name, kept))
    more = via.lines[1]
    return [*found, (_VIA, more.removesuffix(CRLF))] if more else found


def digest(route: bytes, target: bytes, fields: Fields, own: AbstractSet[bytes], *, clients: bool) -> bytes:
    """The key of what the application is sent; `clients`: with what it says of the client.

    The gateway's `own` lines of Via are left out: they are others after each start.
    """
    lines = [
        line if clients or not name.about_client else _without_client(name, line)
        for name, line in fields
        if name.lower != b"via" or line not in own
    ]
    return blake2b(b"\0".join((route, target, *lines)), digest_size=16).digest()


def url(request: Request) -> bytes:
    """The address that the client asked for."""
    return b"%s://%s%s" % (request.scheme, (request.host or b"").lower(), request.target)


def _client(_line: bytes, request: Request) -> bytes:
    return b"X-Forwarded-For: " + (request.client.partition("%")[0].encode("latin-1") or b"unknown")


def _without_client(name: Name, line: bytes) -> bytes:
    """What a field line about the client says of the request itself: of Forwarded its scheme and its host."""
    return line.partition(b";")[2] if name.lower == b"forwarded" else b""


def _forwarded(line: bytes, _request: Request) -> bytes:
    return b"Forwarded: " + line.rpartition(b", ")[2].removeprefix(b"Forwarded: ")


def _codings(line: bytes, _request: Request) -> bytes:
    """The field with the codings alone that applications use, in one order: most clients then ask for the same."""
    known = _known_codings.get(line)
    if known is not None:
        return known
    asked = tokens(line.partition(b":")[2])
    accepts = {token.partition(b";")[0].strip(b" \t"): not _REFUSED.search(token) for token in asked}
    used = [coding for coding in _CODINGS if accepts.get(coding, accepts.get(b"*", False))]
    found = b"Accept-Encoding: " + b", ".join(used) if used else b""
    return _known_codings.remember(line, found) if len(line) <= _LONGEST_REMEMBERED else found


_MADE: Final = {b"accept-encoding": _codings, b"x-forwarded-for": _client, b"forwarded": _forwarded}
_known_names: Final[BoundedMemo[bytes, Name]] = BoundedMemo(1024)
_VIA: Final = Name(b"Via")
