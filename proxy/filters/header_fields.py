"""Header fields that a route sets and removes."""

from collections.abc import Callable, Iterable

from proxy.exchange.request import Request
from proxy.settings.values.rewrite import PLACEHOLDER
from proxy.wire.authority import without_port
from proxy.wire.fields import field_value
from proxy.wire.head import CRLF
from proxy.wire.route_path import RoutePath

_ALIKE = bytes.maketrans(b"_", b"-")
"""CGI-like servers make one variable of both: a client's X_User must not be confused with our X-User."""


class FieldRewrite:
    """Fields to set (replacing what is there) and to remove. Names and values were checked with the settings."""

    def __init__(self, setting: Iterable[tuple[str, str]], removing: Iterable[str]) -> None:
        setting = tuple(setting)
        self._lines = [f"{name}: {value}".encode() for name, value in setting]
        self._gone = frozenset(map(_key, (*(name.encode() for name, _ in setting), *map(str.encode, removing))))

    def __bool__(self) -> bool:
        return bool(self._gone)

    def remaining(self, lines: Iterable[bytes]) -> list[bytes]:
        """The field lines that neither are removed nor make way for others."""
        gone = self._gone
        return [line for line in lines if _key(line.partition(b":")[0]) not in gone]

    def apply(self, lines: Iterable[bytes]) -> list[bytes]:
        """The field lines after the changes."""
        return self.remaining(lines) + self._lines


class RequestFieldRewrite:
    """As `FieldRewrite`, with values that may name parts of the request (`proxy.settings.values.rewrite`).

    The values of placeholders were checked with the request's head, or are the gateway's own: none of them can end a
    line. A field whose value is not known, of a request without user or client, is not sent, nor is the client's own.
    """

    def __init__(
        self, setting: Iterable[tuple[str, str]], removing: Iterable[str], path: RoutePath, upstream: str
    ) -> None:
        fixed, named = [], []
        self._host = b""
        for name, written in setting:
            value = written.replace("{upstream}", upstream)
            if name.lower() == "host":
                self._host = b"Host: " + value.encode()
            elif PLACEHOLDER.search(value):
                named.append((name, value))
            else:
                fixed.append((name, value))
        self._fixed = FieldRewrite(fixed, [*(name for name, _ in named), *removing])
        self._templates = [(name.encode() + b": ", _pieces(value)) for name, value in named]
        self._path = path

    def __bool__(self) -> bool:
        return bool(self._fixed or self._host)

    def apply(self, request: Request, lines: list[bytes]) -> list[bytes]:
        """The field lines after the changes. The first line of a request is its Host, and stays the first."""
        host, *others = lines
        found = [self._host or host, *self._fixed.apply(others)]
        for name, pieces in self._templates:
            value = _filled(pieces, request, self._path)
            if value is not None:
                found.append(name + value)
        return found


def _key(name: bytes) -> bytes:
    return name.lower().translate(_ALIKE)


def _filled(pieces: list[bytes], request: Request, path: RoutePath) -> bytes | None:
    """The text with the request's parts in it, or None where one is not known."""
    found = b""
    for place, piece in enumerate(pieces):
        part = _VALUES[piece](request, path) if place % 2 else piece
        if part is None:
            return None
        found += part
    return found


def _pieces(value: str) -> list[bytes]:
    """Text and placeholders in turn."""
    return [piece.encode() for piece in PLACEHOLDER.split(value)]


def _user(request: Request) -> bytes | None:
    """The user that a filter has authenticated: no client can set this field."""
    return field_value(request.block.split(CRLF), b"x-forwarded-user") or None


def _path(request: Request) -> bytes:
    return request.target.partition(b"?")[0]


def _query(request: Request) -> bytes:
    _, mark, query = request.target.partition(b"?")
    return mark + query


_VALUES: dict[bytes, Callable[[Request, RoutePath], bytes | None]] = {
    b"user": lambda request, _: _user(request),
    b"client": lambda request, _: request.client.encode() or None,
    b"scheme": lambda request, _: request.scheme,
    b"host": lambda request, _: without_port(request.host or b"") or None,
    b"method": lambda request, _: request.method,
    b"path": lambda request, _: _path(request),
    b"rest": lambda request, path: path.rest(_path(request)),
    b"query": lambda request, _: _query(request),
    b"request_id": lambda request, _: request.id,
}
