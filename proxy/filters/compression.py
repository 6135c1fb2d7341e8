"""Compressing responses on their way to the client.

Off by default. Compressed are responses of the listed types, of 1 KiB or more or of unknown length, that have no coding
yet. Never compressed are parts (206), responses marked `no-transform` (RFC 9110 section 7.7) or with a digest
(RFC 9530), and what BREACH needs: responses that set a cookie, and those to requests that a page of another site made
with this user's cookies or credentials (`Sec-Fetch-Site`, Fetch metadata).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from proxy.wire.coding import CODINGS
from proxy.wire.fields import BODILESS, field_value, with_vary
from proxy.wire.head import tokens
from proxy.wire.negotiation import IDENTITY, choose_coding
from proxy.wire.response import ResponseHead

WORTHWHILE = 1024
"""Below this many bytes the fields cost more than the coding saves."""

_DIGESTS = (b"content-digest", b"repr-digest", b"digest", b"content-md5")
_BEGINNINGS = (b"accept", b"sec-fe", b"cookie", b"author")
"""Of the fields that `Asked` has: most lines are none of them, which costs less to see than to look for each."""


class Asked(NamedTuple):
    """What of a request decides about the coding of its response: all that `Compression.choose` reads of it."""

    codings: bytes | None
    """Its Accept-Encoding."""
    by_other_site: bool
    """Whether a page of another site made it with this user's cookies or credentials."""

    @classmethod
    def of(cls, lines: list[bytes]) -> "Asked":
        """That of a request with these field lines."""
        some = [line for line in lines if line[:6].lower() in _BEGINNINGS]
        return cls(field_value(some, b"accept-encoding"), _requested_by_other_site(some))


class Compression:
    """Which responses are compressed. `types` are content types, or `text/*` for all of a kind."""

    def __init__(self, types: Iterable[str]) -> None:
        names = [name.encode() for name in types]
        self._types = frozenset(name for name in names if not name.endswith(b"/*"))
        self._kinds = tuple(name[:-1] for name in names if name.endswith(b"/*"))

    def choose(self, request_lines: list[bytes], response: ResponseHead) -> tuple[list[bytes], bytes]:
        """The response's field lines for the client, and the coding to apply to its body, perhaps `IDENTITY`."""
        lines = response.lines
        if response.status == 304:
            # Its fields replace those of the response that a cache has (RFC 9110 section 15.4.5), perhaps a coded one.
            return with_vary([_weakened(line) for line in lines], b"Accept-Encoding"), IDENTITY
        if response.status == 206:
            # It has the Vary that the whole would have (RFC 9110 section 15.3.7).
            return (with_vary(lines, b"Accept-Encoding") if self._codable(lines, parts=True) else lines), IDENTITY
        if not self._suitable(response):
            return lines, IDENTITY
        lines = with_vary(lines, b"Accept-Encoding")
        coding = choose_coding(field_value(request_lines, b"accept-encoding"), CODINGS)
        if coding == IDENTITY or response.private or _requested_by_other_site(request_lines):
            return lines, IDENTITY
        kept = [_weakened(line) for line in lines if line[:14].lower() != b"accept-ranges:"]
        return [*kept, b"Content-Encoding: " + coding], coding

    def _suitable(self, response: ResponseHead) -> bool:
        status, length = response.status, response.content_length
        if status < 200 or status in BODILESS or (length is not None and length < WORTHWHILE):
            return False
        return field_value(response.lines, b"content-range") is None and self._codable(response.lines)

    def _codable(self, lines: list[bytes], *, parts: bool = False) -> bool:
        """Whether responses with these fields are compressed; of several `parts` the type is not known."""
        content_type = (field_value(lines, b"content-type") or b"").partition(b";")[0].strip(b" \t").lower()
        listed = content_type in self._types or content_type.startswith(self._kinds or (b"\0",))
        if not listed and not (parts and content_type == b"multipart/byteranges"):
            return False
        if field_value(lines, b"content-encoding") is not None:
            return False
        if any(field_value(lines, name) is not None for name in _DIGESTS):
            return False
        return b"no-transform" not in tokens(field_value(lines, b"cache-control") or b"")


def _requested_by_other_site(lines: list[bytes]) -> bool:
    site = field_value(lines, b"sec-fetch-site")
    if site is None or site in (b"same-origin", b"none"):
        return False
    return field_value(lines, b"cookie") is not None or field_value(lines, b"authorization") is not None


def _weakened(line: bytes) -> bytes:
    """A strong entity tag names exact bytes, which the coding changes (RFC 9110 section 8.8.1)."""
    name, _, value = line.partition(b":")
    if name.lower() != b"etag" or value.lstrip(b" \t")[:2] == b"W/":
        return line
    return name + b": W/" + value.strip(b" \t")


def restored(line: bytes) -> bytes:
    """A request's field line with the tags that were weakened here as the application gave them.

    If-Match compares strongly (RFC 9110 section 13.1.1): with a weak tag nothing could be updated any more.
    """
    if line[:9].lower() != b"if-match:":
        return line
    return line[:9] + re.sub(rb'(?:W/)?("[^"]*")', rb"\1", line[9:])
