"""Paths of routes: literal, or patterns whose segments may be variable.

A path covers whole segments of a request's normalised path (`proxy.wire.target`): its first ones, or with `exact` all
of them. In a pattern `{name}` stands for one segment or part of one, and so does `*`; at the end of a path that is not
exact `/*` is a slash and whatever follows. Segments are compared one by one: no pattern takes long.
"""

import re
from collections.abc import Set as AbstractSet
from typing import Final
from urllib.parse import quote_from_bytes

from proxy.wire.target import names, normalised, without_prefix

_VARIABLE: Final = re.compile(rb"\{([a-z][a-z0-9_]*)\}|\*")
_KEPT: Final = "-._~!$&'()*+,;=:@"
"""Characters that a segment may have unescaped (RFC 3986 section 3.3)."""
_SLASH: Final = 0x2F


class _Variable:
    """A variable segment: what stands before and behind its variable, which has at least one byte."""

    __slots__ = ("after", "before", "name")

    def __init__(self, before: bytes, name: bytes, after: bytes) -> None:
        self.before: Final = before
        self.name: Final = name
        self.after: Final = after

    def takes(self, segment: bytes) -> bool:
        fixed = len(self.before) + len(self.after)
        return len(segment) > fixed and segment.startswith(self.before) and segment.endswith(self.after)

    def value(self, segment: bytes) -> bytes:
        return segment[len(self.before) : len(segment) - len(self.after)]


def _parse(segment: bytes) -> _Variable | None:
    """A variable segment; None for a literal one. Raises ValueError."""
    found = _VARIABLE.search(segment)
    if found is None:
        if b"{" in segment or b"}" in segment:
            raise ValueError(f"'{segment.decode()}' has braces around no name such as {{user_id}}: small letters first")
        return None
    start, end = found.span()
    before, after = segment[:start], segment[end:]
    if any(byte in before + after for byte in b"{}*"):
        raise ValueError(f"'{segment.decode()}' has more than one variable; a segment may have one")
    return _Variable(before, found[1] or b"", after)


class RoutePath:
    """Where a route applies. `names` are those of its variables, `rank` orders paths: the smallest is tried first."""

    __slots__ = ("_bare", "_count", "_segments", "_variables", "exact", "names", "rank", "shape", "slashed", "text")

    def __init__(self, text: bytes, *, exact: bool = False) -> None:
        """`text` begins with a slash. Raises ValueError for a faulty pattern."""
        if not exact and text.endswith(b"/*"):
            text = text[:-1]
        self.text: Final = text
        self.exact: Final = exact
        self.slashed: Final = text.endswith(b"/")
        """Whether it ends with a slash."""
        self._bare: Final = text.rstrip(b"/")
        segments = self._bare.split(b"/")[1:]
        parsed = [_parse(segment) for segment in segments]
        self._segments: Final = segments
        self._variables: Final = parsed if any(one is not None for one in parsed) else []
        """A variable or None for each segment of a pattern; of a literal path nothing."""
        self._count: Final = len(segments)
        named = [one.name for one in parsed if one is not None and one.name]
        if len(set(named)) < len(named):
            raise ValueError("two variables have the same name; rename one")
        self.names: Final = tuple(named)
        fixed = [
            (0, 0) if one is None else (1, -len(one.before) - len(one.after)) for one in (self._variables or parsed)
        ]
        self.rank: Final = (not exact, -self._count, not self.slashed, fixed)
        """Exact paths first, then those with more segments, then those whose first different segment says more."""
        self.shape: Final = _VARIABLE.sub(b"*", text) if self._variables else text
        """The same for patterns that differ in names alone."""

    @property
    def variables(self) -> list[str]:
        """The names of its variables, as placeholders have them."""
        return [name.decode() for name in self.names]

    @property
    def variable(self) -> bool:
        """Whether it is a pattern."""
        return bool(self._variables)

    def takes(self, path: bytes) -> bool:
        """Whether it covers a normalised path."""
        if self._variables:
            return self._matches(path)
        text = self.text
        if self.exact:
            return path == text
        return path.startswith(text) and (self.slashed or len(path) == len(text) or path[len(text)] == _SLASH)

    def _matches(self, path: bytes) -> bool:
        parts = path.split(b"/")[1:]
        count = self._count
        if len(parts) <= count if self.slashed else len(parts) < count:
            return False
        if self.exact and (len(parts) > count + self.slashed or (self.slashed and parts[count])):
            return False
        for number in range(count):  # noqa: SIM110 - a loop costs no generator
            if not self._covers(number, parts[number]):
                return False
        return True

    def meets(self, place: bytes, mentioned: AbstractSet[bytes]) -> bool:
        """Whether a path below the directory `place` that mentions these names might lead here.

        Paths above `place` do not count, nor does `place` itself unless this path is exact.
        """
        above = place.split(b"/")[1:-1]
        depth = len(above)
        if self._count < depth or not all(self._covers(number, part) for number, part in enumerate(above)):
            return False
        if self._count == depth:
            return self.exact
        variable = self._variables and self._variables[depth] is not None
        return bool(variable) or names(self._segments[depth])[0] in mentioned

    def _covers(self, number: int, part: bytes) -> bool:
        variable = self._variables[number] if self._variables else None
        return part == self._segments[number] if variable is None else variable.takes(part)

    def place(self, path: bytes) -> bytes | None:
        """The directory that it covers of a path that it takes, slash at its end; None if that is spelt oddly."""
        parts = path.split(b"/")[1 : self._count + 1]
        place = b"/" + b"".join(part + b"/" for part in parts)
        plain = not any(byte in place for byte in b"%\\;") and all(part.strip(b".") for part in parts)
        return place if plain and path.startswith(place) and self.takes(place) else None

    def prefix(self, target: bytes) -> bytes:
        """What it covers of a target that it takes, as a path without a slash at its end."""
        if not self._variables:
            return self._bare
        return b"/".join(normalised(target).split(b"/")[: self._count + 1])

    def rest(self, target: bytes) -> bytes:
        """The target behind what it covers, beginning with one slash."""
        return without_prefix(self.prefix(target), target)

    def values(self, target: bytes) -> dict[bytes, bytes]:
        """The values of its variables by name, as segments of a path: percent-encoded, without a slash."""
        if not self.names:
            return {}
        parts = normalised(target).split(b"/")[1:]
        return {
            one.name: quote_from_bytes(one.value(part), _KEPT).encode()
            for one, part in zip(self._variables, parts, strict=False)
            if one is not None and one.name
        }

    def without_slash(self) -> "RoutePath":
        """Its exact counterpart without the slash at its end."""
        return RoutePath(self._bare, exact=True)


ROOT: Final = RoutePath(b"/")
"""Every path."""
