"""The path of a request target: as an application reads it, and what is left of it behind a route's prefix."""

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SLASHES = re.compile(rb"/{2,}")
_LEADING = re.compile(rb"(?:[/\\]|%2[fF]|%5[cC])*")
_KEPT = "/-._~!$&'()*+,;=:@"  # what a path may hold as it is (RFC 3986 section 3.3)

_DOT_SEGMENT = re.compile(rb"(?:^|[/\\]|%2[fF]|%5[cC])(?:\.|%2[eE]){1,2}(?:$|[/\\;]|%2[fF]|%5[cC])")
_ENDS = re.compile(rb"[/\\;]|%2[fF]|%5[cC]|%3[bB]")
"""What some program takes for the end of a name."""


_MOST_SEGMENTS = 64


def normalised(target: bytes) -> bytes:
    """A target's path as an application reads it."""
    path = target.partition(b"?")[0]
    if b"%" in path:
        path = unquote_to_bytes(path)
    return _SLASHES.sub(b"/", path) if b"//" in path else path


def without_prefix(prefix: bytes, target: bytes) -> bytes:
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


def has_dot_segment(target: bytes) -> bool:
    """Whether a target's path has a segment that some program resolves ("." or "..", in whatever spelling)."""
    return _DOT_SEGMENT.search(target.partition(b"?")[0]) is not None


def is_confined(path: bytes) -> bool:
    """Whether a path stays below its beginning whatever of it a program takes for dot segments, and resolves.

    Counted at the worst: each ".." in any spelling leads up, and only what every program takes for a name leads down.
    """
    depth = 0
    for segment in path.split(b"/"):
        parts = names(segment)
        ups = parts.count(b"..")
        if ups:
            depth -= ups
            if depth < 0:
                return False
        elif parts[0] not in (b"", b"."):
            depth += 1
    return True


def names(path: bytes) -> list[bytes]:
    """Whatever some program may take for a name in a path, decoded."""
    return [unquote_to_bytes(part) for part in _ENDS.split(path)]
