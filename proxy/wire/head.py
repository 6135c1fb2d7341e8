"""What request and response heads have in common (RFC 9112 sections 2 and 5).

The parsers refuse whatever two implementations might read differently; they never repair. Bytes are checked in one
pass: deleting every byte that may stand in a line must leave exactly one CR LF per line, which at once excludes bare
CR, bare LF, NUL and the other control characters.
"""

import re

from proxy.errors import ExchangeError, Failure
from proxy.wire.names import RESPONSE_NAMES, Kind

CRLF = b"\r\n"
END = b"\r\n\r\n"

LENGTH = re.compile(rb"[0-9]{1,19}")

LINE_BYTES = bytes([9, *range(32, 127), *range(128, 256)])  # HTAB, SP, VCHAR, obs-text (RFC 9110 section 5.5)


def split_lines(block: bytes) -> list[bytes] | None:
    """The lines of a block, or None if a byte stands in it that may not (or not there)."""
    lines = block.split(CRLF)
    return lines if block.translate(None, LINE_BYTES) == CRLF * (len(lines) - 1) else None


def tokens(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, lower-cased (RFC 9110 section 5.6.1)."""
    return [token.strip(b" \t").lower() for token in value.split(b",")]


def bare_line_feed(data: bytes) -> bool:
    """Whether an unfinished head already holds a line that ends in a bare LF: no need to wait for more of it."""
    return data.count(b"\n") != data.count(CRLF)


def check_trailers(block: bytes, failure: Failure) -> list[bytes]:
    """The lines of a trailer section that may be passed on (RFC 9110 section 6.5.1).

    Raises `ExchangeError(failure)` for a line that is malformed or that frames, routes or authenticates.
    """
    if not block:
        return []
    lines = split_lines(block)
    if lines is None:
        raise ExchangeError(failure, "trailer section")
    for line in lines:
        name, colon, _ = line.partition(b":")
        lowered = name.lower()
        if not colon or RESPONSE_NAMES[name] is Kind.INVALID or lowered in _FORBIDDEN_TRAILERS:
            raise ExchangeError(failure, "trailer section")
        if lowered.startswith(b"content-"):
            raise ExchangeError(failure, "trailer section")
    return lines


_FORBIDDEN_TRAILERS = frozenset(
    {
        b"transfer-encoding",
        b"host",
        b"authorization",
        b"proxy-authorization",
        b"trailer",
        b"te",
        b"connection",
        b"upgrade",
        b"set-cookie",
        b"cookie",
        b"expect",
        b"cache-control",
        b"location",
        b"x-request-id",
    }
)
