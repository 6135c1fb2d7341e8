"""The path of a request target: as an application reads it, and what is left of it behind a route's prefix."""

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SLASHES = re.compile(rb"/{2,}")
_LEADING = re.compile(rb"(?:[/\\]|%2[fF]|%5[cC])*")
_KEPT = "/-._~!$&'()*+,;=:@"  # what a path may hold as it is (RFC 3986 section 3.3)

_MOST_SEGMENTS = 64


def normalised(target: bytes) -> bytes:
    """A target's path as an application reads it."""
    path = target.partition(b"?")[0]
    if b"%" in path:
        path = unquote_to_bytes(path)
    return _SLASHES.sub(b"/", path) if b"//" in path else path


def behind(prefix: bytes, target: bytes) -> bytes:
    """The target without a prefix that its normalised path begins with; it begins with one slash again.

    The rest is left as the client spelt it, unless it hides the slash that ends the prefix. An application that
    redirects to its own path must not be made to send its visitor to "//host", "/\\host" or what it decodes to that.
    """
    bare = prefix.rstrip(b"/")
    path, mark, query = target.partition(b"?")
    rest = path[len(bare) :]
    if not path.startswith(bare) or rest[:1] not in (b"/", b""):
        rest = _behind_other_spelling(bare, path)
    return b"/" + _LEADING.sub(b"", rest, count=1) + mark + query


def _behind_other_spelling(bare: bytes, path: bytes) -> bytes:
    end = 0
    for _ in range(_MOST_SEGMENTS):
        end = path.find(b"/", end + 1)
        if end < 0:
            break
        if normalised(path[:end]) == bare:
            return path[end:]
    return quote_from_bytes(normalised(path)[len(bare) :], _KEPT).encode()
