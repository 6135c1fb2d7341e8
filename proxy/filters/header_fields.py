"""Header fields that a route sets and removes."""

from collections.abc import Iterable

from proxy.exchange.request import Request
from proxy.filters.template import Template
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


class TemplateRewrite:
    """As `FieldRewrite`, with values that may have placeholders.

    A field whose value is not known, of a request without user or client, is not set, nor does one that is there stay.
    """

    def __init__(
        self, setting: Iterable[tuple[str, str]], removing: Iterable[str], path: RoutePath, upstream: str
    ) -> None:
        made = [(name, Template(value, path, upstream)) for name, value in setting]
        named = [name for name, value in made if value.names]
        fixed = [(name, value.text) for name, value in made if not value.names]
        self._fixed = FieldRewrite(fixed, [*named, *removing])
        self._templates = [(name.encode() + b": ", value) for name, value in made if value.names]

    def __bool__(self) -> bool:
        return bool(self._fixed)

    def apply(self, request: Request, lines: Iterable[bytes]) -> list[bytes]:
        """The field lines after the changes."""
        found = self._fixed.apply(lines)
        for name, template in self._templates:
            value = template.filled(request)
            if value is not None:
                found.append(name + value)
        return found


class RequestFieldRewrite:
    """The fields of requests. The first is always Host, which a route may set to one value for all."""

    def __init__(
        self, setting: Iterable[tuple[str, str]], removing: Iterable[str], path: RoutePath, upstream: str
    ) -> None:
        setting = tuple(setting)
        hosts = [value.replace("{upstream}", upstream) for name, value in setting if name.lower() == "host"]
        self._host = b"Host: " + hosts[0].encode() if hosts else b""
        others = [(name, value) for name, value in setting if name.lower() != "host"]
        self._others = TemplateRewrite(others, removing, path, upstream)

    def __bool__(self) -> bool:
        return bool(self._others or self._host)

    def apply(self, request: Request, lines: list[bytes]) -> list[bytes]:
        """The field lines after the changes."""
        host, *others = lines
        return [self._host or host, *self._others.apply(request, others)]


def _key(name: bytes) -> bytes:
    return name.lower().translate(_ALIKE)
