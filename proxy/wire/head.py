"""What request and response heads have in common (RFC 9112 sections 2 and 5).

The parsers refuse whatever two implementations might read differently; they never repair. Bytes are checked in one
pass: deleting every byte allowed in a line must leave exactly one CR LF per line, which also excludes bare CR, bare LF,
NUL and other control characters.
"""

import re

CRLF = b"\r\n"
END = b"\r\n\r\n"

LENGTH = re.compile(rb"[0-9]{1,19}")

LINE_BYTES = bytes([9, *range(32, 127), *range(128, 256)])  # HTAB, SP, VCHAR, obs-text (RFC 9110 section 5.5)


def split_lines(block: bytes) -> list[bytes] | None:
    """The lines of a block, or None if it has a byte that is not allowed (there)."""
    lines = block.split(CRLF)
    return lines if block.translate(None, LINE_BYTES) == CRLF * (len(lines) - 1) else None


def tokens(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, lower-cased (RFC 9110 section 5.6.1)."""
    return [token.strip(b" \t").lower() for token in value.split(b",")]


def bare_line_feed(data: bytes) -> bool:
    """Whether an incomplete head already has a bare LF, so that it can be refused without waiting."""
    return data.count(b"\n") != data.count(CRLF)


def may_trail(name: bytes) -> bool:
    """Whether a field with this name, whose kind is FORWARD in responses, is allowed in a trailer.

    Fields for framing, routing, authentication or control are not (RFC 9110 section 6.5.1).
    """
    lowered = name.lower()
    return lowered in _DIGESTS or not (lowered in _NEVER_TRAILERS or lowered.startswith(b"content-"))


_DIGESTS = frozenset({b"content-digest", b"content-md5"})  # RFC 9530 section 2: known only after the body

_NEVER_TRAILERS = frozenset(
    {
        b"age",
        b"authorization",
        b"cache-control",
        b"cookie",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"location",
        b"max-forwards",
        b"pragma",
        b"range",
        b"retry-after",
        b"vary",
        b"www-authenticate",
        b"x-request-id",
    }
)
