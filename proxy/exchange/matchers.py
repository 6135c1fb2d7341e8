"""What a route asks of a request beside its host and path: its method, fields, query and cookies.

A value may have `*` for any text; a field, parameter or cookie that is there more than once matches if one of its
values does. Nothing here backtracks.
"""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.settings import Matching
from proxy.wire.fields import field_value
from proxy.wire.request import RequestFields


class Glob:
    """A text with `*` for any text, also none."""

    __slots__ = ("_first", "_inner", "_last")

    def __init__(self, text: bytes) -> None:
        first, *inner = text.split(b"*")
        self._first: Final = first
        self._last: Final = inner.pop() if inner else None
        self._inner: Final = inner

    def takes(self, text: bytes) -> bool:
        last = self._last
        if last is None:
            return text == self._first
        if len(text) < len(self._first) + len(last) or not (text.startswith(self._first) and text.endswith(last)):
            return False
        start, end = len(self._first), len(text) - len(last)
        for piece in self._inner:
            found = text.find(piece, start, end)
            if found < 0:
                return False
            start = found + len(piece)
        return True


Wanted = Sequence[tuple[bytes, Glob]]


class Matchers:
    """All that one route asks for; each part must be there."""

    __slots__ = ("_cookies", "_fields", "_methods", "_parameters", "count")

    def __init__(self, wanted: Matching) -> None:
        self._methods: Final = frozenset(method.encode() for method in wanted.methods)
        self._fields: Final = _globs((name.lower(), value) for name, value in wanted.fields)
        self._parameters: Final = _globs(wanted.parameters)
        self._cookies: Final = _globs(wanted.cookies)
        self.count: Final = bool(self._methods) + len(self._fields) + len(self._parameters) + len(self._cookies)
        """Of two routes with the same path the one that asks for more is tried first."""

    def take(self, method: bytes, target: bytes, fields: RequestFields) -> bool:
        """Whether a request has all of it."""
        if self._methods and method not in self._methods:
            return False
        for name, glob in self._fields:
            value = field_value(fields.lines, name)
            if value is None or not (glob.takes(value) or any(map(glob.takes, _members(value)))):
                return False
        if self._parameters and not _all_there(self._parameters, _parameters(target)):
            return False
        return not self._cookies or _all_there(self._cookies, _cookies(fields.lines))


def _globs(wanted: Iterable[tuple[str, str]]) -> Wanted:
    return [(name.encode(), Glob(value.encode())) for name, value in wanted]


def _all_there(wanted: Wanted, given: Sequence[tuple[bytes, bytes]]) -> bool:
    return all(any(name == known and glob.takes(value) for known, value in given) for name, glob in wanted)


def _members(value: bytes) -> list[bytes]:
    """The members of a list, each without its parameters (RFC 9110 section 5.6)."""
    return [member.partition(b";")[0].strip(b" \t") for member in value.split(b",")]


def _parameters(target: bytes) -> list[tuple[bytes, bytes]]:
    """The query's parameters, as a form has them."""
    query = target.partition(b"?")[2].replace(b"+", b" ")
    pairs = [pair.partition(b"=") for pair in query.split(b"&")]
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def _cookies(lines: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """The request's cookies (RFC 6265 section 4.2)."""
    pairs = (pair for line in lines if line[:7].lower() == b"cookie:" for pair in line[7:].split(b";"))
    named = (pair.strip(b" \t").partition(b"=") for pair in pairs)
    return [(name, value) for name, _, value in named]
