"""Services: routes that commands have deployed, beside those of the settings.

A service has the settings of the top level, as a `[[route]]` without any of its own has. The settings have precedence:
a service whose name or requests one of their routes takes is set aside, and serves again when no route does.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from proxy.settings import ANY, RouteSettings, Settings
from proxy.settings.matching import read_path
from proxy.settings.table import RESPONSE_KEYS, TABLE
from proxy.settings.values import kinds, web
from proxy.wire.route_path import RoutePath

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,62}")
_ALLOW = re.compile(r"[0-9A-Za-z_.-]{1,100}=[!#-+\--:<-\[\]-~]{1,200}(?:,[!#-+\--:<-\[\]-~]{1,200}){0,99}")
"""A cookie's name, and values of it without the comma that RFC 6265 section 4.1.1 leaves out too."""
_RESERVED = frozenset({"default", "unrouted", "admin"})
"""Names of routes that no file names."""

Requests = set[tuple[str, bytes, bool]]
"""Which requests a route takes: host, shape of the path, and whether exactly that path."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A new target for a part of a service's clients: `percent` of them, and those with the cookie of `allow`.

    `allow` is "COOKIE=VALUE,VALUE" or empty.
    """

    target: tuple[str, ...]
    percent: int = 0
    allow: str = ""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Rollout":
        """A rollout of its document. Raises ValueError that names the key at fault."""
        if not raw.get("target"):
            raise ValueError("target: missing; add the address of the new instance, such as 127.0.0.1:8081")
        percent, allow = raw.get("percent", 0), raw.get("allow", "")
        if not isinstance(percent, int) or not 0 <= percent <= 100:
            raise ValueError(f"percent {kinds.toml(percent)}: expected a whole number from 0 to 100")
        if not isinstance(allow, str) or (allow and not _ALLOW.fullmatch(allow)):
            raise ValueError(f"allow {kinds.toml(allow)}: expected COOKIE=VALUE, with commas between several values")
        if not percent and not allow:
            raise ValueError("percent or allow: missing; say which clients are to see the new target")
        return cls(tuple(map(str, _value("target", kinds.PEERS.read, raw["target"]))), percent, allow)

    @property
    def share(self) -> tuple[int, str, tuple[str, ...]]:
        """Percent, cookie, and its values."""
        cookie, _, values = self.allow.partition("=")
        return self.percent, cookie, tuple(values.split(",")) if values else ()


@dataclass(frozen=True, slots=True)
class Service:
    """An application under a name: its addresses, and which requests it serves (without hosts: those for any)."""

    name: str
    target: tuple[str, ...]
    host: tuple[str, ...] = ()
    path: str = "/"
    health_path: str = ""
    rollout: Rollout | None = None
    tls: bool = False
    """Whether certificates are obtained for its hosts."""
    labelled: bool = False
    """Whether labels of containers have made it, not a command."""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Service":
        """A service of its document. Raises ValueError that names the key at fault."""
        name = raw.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"name {str(name)[:80]!r}: expected up to 63 letters, digits, '.', '_' or '-'")
        if name in _RESERVED:
            raise ValueError(f"name {name!r}: reserved for the gateway's own routes; choose another")
        if not raw.get("target"):
            raise ValueError("target: missing; add the application's address, such as 127.0.0.1:8080")
        tls, hosts = raw.get("tls", False), _value("host", web.DOMAINS.read, raw.get("host", ()))
        if not isinstance(tls, bool):
            raise ValueError(f"tls {kinds.toml(tls)}: expected true or false")  # noqa: TRY004 - wrong content, not a wrong argument
        if tls and not hosts:
            raise ValueError("tls: needs the names to obtain certificates for; add host")
        return cls(
            name,
            tuple(map(str, _value("target", kinds.PEERS.read, raw["target"]))),
            hosts,
            _value("path", read_path, raw.get("path", "/")).text.decode(),
            _value("health_path", web.PATH.read, raw.get("health_path", "")),
            Rollout.read(raw["rollout"]) if raw.get("rollout") else None,
            tls,
            raw.get("labelled") is True,
        )

    @property
    def targets(self) -> tuple[str, ...]:
        """All its addresses."""
        return self.target if self.rollout is None else (*self.target, *self.rollout.target)

    def document(self) -> dict[str, Any]:
        """What `read` takes."""
        return asdict(self)

    @property
    def requests(self) -> Requests:
        """Which requests it takes."""
        return _requests(self.host, self.path, exact=False)

    def route(self, settings: Settings) -> RouteSettings:
        """The route that it is, under these settings."""
        plain = {key: TABLE[key].default for key in RESPONSE_KEYS}
        own = {**plain, "upstream": kinds.PEERS.read(list(self.target))}
        if self.health_path:
            own["health_path"] = self.health_path
        base = replace(settings, routes=(), certificates=(), **own)
        return RouteSettings(self.name, self.host, self.path, False, base)


def requests_of(route: RouteSettings) -> Requests:
    """Which requests a route takes, whatever else they are: none, if it asks for more than host and path."""
    if route.matching != ANY:
        return set()
    return _requests(route.hosts, route.path, exact=route.exact)


def _requests(hosts: tuple[str, ...], path: str, *, exact: bool) -> Requests:
    shape = RoutePath(path.encode(), exact=exact).shape
    return {(host, shape, exact) for host in hosts or ("",)}


def obstacle(service: Service, routes: Iterable[RouteSettings]) -> str:
    """Why a service cannot serve beside these routes; empty if it can."""
    for route in routes:
        if route.name == service.name:
            return f"the settings have a route {route.name!r}: deploy under another name, or move it with switch"
        if service.requests <= requests_of(route):
            where = f"{', '.join(service.host) or 'any host'}, {service.path}"
            return f"route {route.name} takes the same requests ({where}): choose another host or path, or remove it"
    return ""


def tls_obstacle(service: Service, settings: Settings) -> str:
    """Why no certificates can be obtained for a service's hosts; empty if they can."""
    if not settings.acme:
        return "tls: this gateway obtains no certificates; start it with acme, such as --acme you@example.com"
    wild = next((host for host in service.host if host.startswith("*.")), "")
    if wild and not (settings.acme_dns_hook or settings.acme_dns_server):
        return f"tls: {wild} can be validated through DNS alone; set acme_dns_hook or acme_dns_server, or name hosts"
    return ""


def in_force(settings: Settings, services: Iterable[Service]) -> tuple[Service, ...]:
    """Those services that no route of the settings takes the place of."""
    own = settings.all_routes
    return tuple(service for service in services if not obstacle(service, own))


def with_services(settings: Settings, services: Iterable[Service]) -> Settings:
    """The settings with a route more for each service that is in force."""
    added = tuple(service.route(settings) for service in in_force(settings, services))
    return replace(settings, routes=(*settings.routes, *added)) if added else settings


def with_domains(settings: Settings, services: Iterable[Service]) -> Settings:
    """The settings with the hosts of those services that want certificates among the domains to obtain them for."""
    if not settings.acme:
        return settings
    hosts = [host for service in in_force(settings, services) if service.tls for host in service.host]
    return replace(settings, domain=tuple(dict.fromkeys((*settings.domain, *hosts)))) if hosts else settings


def _value(key: str, read: Callable[[Any], Any], raw: Any) -> Any:
    try:
        return read(list(raw) if isinstance(raw, tuple) else raw)
    except ValueError as problem:
        raise ValueError(f"{key} {kinds.toml(raw)}: {problem}") from None
