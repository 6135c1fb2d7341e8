"""The path of a request target: normalised as an application reads it, and without a route's prefix."""

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SLASHES = re.compile(rb"/{2,}")
_LEADING = re.compile(rb"(?:[/\\]|%2[fF]|%5[cC])*")
_KEPT = "/-._~!$&'()*+,;=:@"  # characters a path may have unescaped (RFC 3986 section 3.3)

_DOT_SEGMENT = re.compile(rb"(?:^|[/\\]|%2[fF]|%5[cC])(?:\.|%2[eE]){1,2}(?:$|[/\\;]|%2[fF]|%5[cC])")
_ENDS = re.compile(rb"[/\\;]|%2[fF]|%5[cC]|%3[bB]")
"""Separators of path segments in some program."""


_MOST_SEGMENTS = 64


def normalised(target: bytes) -> bytes:
    """A target's path, normalised as an application reads it."""
    path = target.partition(b"?")[0]
    if b"%" in path:
        path = unquote_to_bytes(path)
    return _SLASHES.sub(b"/", path) if b"//" in path else path


def without_prefix(prefix: bytes, target: bytes) -> bytes:
    """The target without a prefix of its normalised path; the rest starts with exactly one slash.

    The rest keeps the client's spelling, unless it hides the slash that ends the prefix. An application that redirects
    to its own path must not be tricked into sending visitors to "//host", "/\\host" or an encoding of these.
    """
    bare = prefix.rstrip(b"/")
    path, mark, query = target.partition(b"?")
    rest = path[len(bare) :]
    if not path.startswith(bare) or rest[:1] not in (b"/", b""):
        rest = _behind_other_spelling(bare, path)
    return b"/" + _LEADING.sub(b"", rest, count=1) + mark + query


def quoted(path: bytes) -> bytes:
    """A decoded path as a target has it."""
    return quote_from_bytes(path, _KEPT).encode()


def _behind_other_spelling(bare: bytes, path: bytes) -> bytes:
    end = 0
    for _ in range(_MOST_SEGMENTS):
        end = path.find(b"/", end + 1)
        if end < 0:
            break
        if normalised(path[:end]) == bare:
            return path[end:]
    return quoted(normalised(path)[len(bare) :])


def has_dot_segment(target: bytes) -> bool:
    """Whether a target's path has a segment that some program resolves ("." or ".." in any spelling)."""
    return _DOT_SEGMENT.search(target.partition(b"?")[0]) is not None


def is_confined(path: bytes) -> bool:
    """Whether a path stays below its start no matter what a program treats as dot segments.

    The worst case is counted: each ".." in any spelling goes up, and only what every program takes as a name goes down.
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
    """The segments of a path under any program's separators, decoded."""
    return [unquote_to_bytes(part) for part in _ENDS.split(path)]
