"""Where a route applies: the keys `host`, `path`, `exact`, `method`, `field`, `query` and `cookie` of a `[[route]]`."""

import re
from collections.abc import Callable
from typing import Any

from proxy.settings.document import Table
from proxy.settings.table import Matching, RouteSettings, Settings
from proxy.settings.values import web
from proxy.settings.values.template import PLACEHOLDERS
from proxy.wire.names import REQUEST_NAMES, Kind
from proxy.wire.route_path import RoutePath

KEYS = ("host", "path", "exact", "method", "field", "query", "cookie")

_UNREAD = re.compile(r"%|//|/\.{1,2}(?:/|$)")  # absent from a decoded request path, which routes are compared with
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?|")
_KEPT = {
    Kind.FORWARD,
    Kind.REFERER,
    Kind.USER_AGENT,
    Kind.ACCEPT,
    Kind.AUTHORIZATION,
    Kind.WEBSOCKET_KEY,
    Kind.WEBSOCKET_VERSION,
    Kind.VIA,
}
"""Fields that reach the application as the client sent them, so that it and the route see the same."""


def read_matching(table: Table, mistakes: list[str]) -> tuple[tuple[str, ...], RoutePath, Matching]:
    """Hosts, path and what else a route asks for."""
    values = table.values

    def read(key: str, reading: Callable[[Any], Any], absent: Any = ()) -> Any:
        if key not in values:
            return absent
        try:
            return reading(values[key])
        except ValueError as problem:
            mistakes.append(f"{table.given(key)}: {problem}")
            return absent

    if "path" in values and "exact" in values:
        mistakes.append(f"{table.at('exact')}: path is there too; remove one of them")
    exact = "exact" in values
    path = read("exact" if exact else "path", lambda raw: read_path(raw, exact=exact), RoutePath(b"/"))
    matching = Matching(
        read("method", _methods), read("field", _fields), read("query", _pairs), read("cookie", _cookies)
    )
    return read("host", _hosts), path, matching


def same_requests(routes: tuple[RouteSettings, ...]) -> list[tuple[int, int, str]]:
    """Routes that can never be reached: number, that of the earlier route with the same requests, and the host."""
    found = []
    first: dict[tuple[str, bytes, bool, Matching], int] = {}
    for number, route in enumerate(routes):
        path = RoutePath(route.path.encode(), exact=route.exact)
        for host in route.hosts or ("",):
            other = first.setdefault((host, path.shape, route.exact, route.matching), number)
            if other != number:
                found.append((number, other, host))
                break
    return found


def route_named(
    name: str | None, hosts: tuple[str, ...], path: RoutePath, matching: Matching, settings: Settings
) -> RouteSettings:
    """A route; without a name it is called after where it applies."""
    text = path.text.decode()
    if name is None:
        name = " ".join([*(["="] if path.exact else []), (hosts[0] if hosts else "") + text, *matching.texts])
    return RouteSettings(name, hosts, text, path.exact, settings, matching)


def _hosts(raw: Any) -> tuple[str, ...]:
    hosts: tuple[str, ...] = web.DOMAINS.read(raw)
    if not hosts:
        raise ValueError("empty list; leave it out to match all hosts")
    return hosts


def read_path(raw: Any, *, exact: bool = False) -> RoutePath:
    """A route's path. Raises `ValueError`."""
    if not isinstance(raw, str) or not re.fullmatch(r"/[!-\"$->@-~]*", raw):
        raise ValueError("expected a path that begins with /, without ? or #")
    if _UNREAD.search(raw):
        raise ValueError(
            "never matches, since requests are compared after decoding; write it without %, // and dot segments"
        )
    path = RoutePath(raw.encode(), exact=exact)
    for name in path.variables:
        if name in PLACEHOLDERS:
            raise ValueError(f"{{{name}}} is a placeholder of its own; give the variable another name")
    return path


def _methods(raw: Any) -> tuple[str, ...]:
    found = web.read_tokens(raw)
    for name in found:
        if not _METHOD.fullmatch(name):
            raise ValueError(f"'{name}' is not a method; they are written in capitals, such as GET")
    if not found:
        raise ValueError("empty list; leave it out to match all methods")
    return tuple(sorted(set(found)))


def _pairs(raw: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(raw, dict) or not raw or len(raw) > web.MOST:
        raise ValueError('expected a table of names and values, such as { version = "2" }; "*" is any value')
    for name, value in raw.items():
        if not isinstance(value, str) or not _VALUE.fullmatch(value) or not _VALUE.fullmatch(name) or not name:
            raise ValueError(f'{name}: expected text in ASCII as the value, such as "2"; "*" is any value')
    return tuple(sorted(raw.items()))


def _fields(raw: Any) -> tuple[tuple[str, str], ...]:
    found = _pairs(raw)
    for name, _ in found:
        kind = REQUEST_NAMES[name.encode()]
        if kind is Kind.COOKIE:
            raise ValueError('Cookie: name the cookie, as in cookie = { NAME = "*" }')
        if kind not in _KEPT:
            raise ValueError(f"{name}: a client's field of this name is never forwarded as it is; use another")
    return found


def _cookies(raw: Any) -> tuple[tuple[str, str], ...]:
    found = _pairs(raw)
    for name, _ in found:
        if not web.is_name(name):
            raise ValueError(f"'{name}' is not a cookie's name: letters, digits, - and _")
    return found
