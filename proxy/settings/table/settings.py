"""`Settings`: all topics of the table in one frozen value, and the table itself.

A setting that is `routed` is also allowed in a `[[route]]` of the file. The top level then gives the default of all
routes, and a route's `settings` are the top level's with its own values laid over them: code that serves a request
reads one `Settings`, its route's, and need not know where a value was written.
"""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import get_type_hints

from proxy.settings.table.addresses import Addresses
from proxy.settings.table.caching import Caching
from proxy.settings.table.limits import Buffers, Limits
from proxy.settings.table.messages import Access, Fields, LocalResponses, Responses
from proxy.settings.table.process import Logs, Process, Tracing
from proxy.settings.table.row import Setting
from proxy.settings.table.sharing import Sharing
from proxy.settings.table.timeouts import Timeouts
from proxy.settings.table.tls import Tls
from proxy.settings.table.upstreams import Balancing, Health, UpstreamConnections, UpstreamIdentity
from proxy.settings.upstream_tls import NO_TLS, UpstreamTls


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its key, both PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class AcmeServer:
    """An authority that certificates are obtained from: the URL of its directory, and what it asks of its clients.

    `ca` has the CA certificates (PEM) of its own certificate, None means the system's. `eab_kid` and `eab_key`
    (base64url) are those of an external account, `profile` is the kind of certificate to order.
    """

    directory: str
    ca: Path | None = None
    eab_kid: str = ""
    eab_key: str = field(default="", repr=False)
    profile: str = ""


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A key that signs messages between name servers (RFC 8945): its name, its algorithm, its secret in base64."""

    name: str
    algorithm: str
    secret: str = field(repr=False)


Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Matching:
    """What a route asks of requests beside host and path; `*` in a value is any text. Empty parts ask for nothing."""

    methods: tuple[str, ...] = ()
    fields: Pairs = ()
    parameters: Pairs = ()
    """Of the query."""
    cookies: Pairs = ()

    @property
    def texts(self) -> list[str]:
        """Each part in words; values of fields and cookies may be secrets and are left out."""
        return [
            *(["|".join(self.methods)] if self.methods else []),
            *(f"field:{name}" for name, _ in self.fields),
            *(f"?{name}={value}" for name, value in self.parameters),
            *(f"cookie:{name}" for name, _ in self.cookies),
        ]


ANY = Matching()


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """Requests that are served alike: which (`hosts`, then the longest `path` or the `exact` one), and how.

    Without hosts a route serves every host. The name is the one that commands, metrics and logs use.
    """

    name: str
    hosts: tuple[str, ...]
    path: str
    exact: bool
    settings: "Settings"
    matching: Matching = ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(
    Addresses,
    Process,
    Logs,
    Tracing,
    Tls,
    Timeouts,
    Limits,
    Sharing,
    Buffers,
    UpstreamConnections,
    UpstreamIdentity,
    Balancing,
    Health,
    Fields,
    LocalResponses,
    Access,
    Responses,
    Caching,
):
    """All settings. Durations are seconds, sizes bytes. The bases are the topics, as the reference page has them."""

    certificates: tuple[Certificate, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    admin_token: bytes = field(default=b"", repr=False)
    """The content of `admin_token_file`, read by the master, which may read more than its workers."""
    acme_eab_key: str = field(default="", repr=False)
    """The content of `acme_eab_key_file`."""
    acme_dns_key: TsigKey | None = None
    """The content of `acme_dns_key_file`."""
    more_acme_servers: tuple[AcmeServer, ...] = ()
    """Those of the file, beside the one that the flags name."""
    written: tuple[tuple[str, str], ...] = ()
    """Settings whose values have variables of the environment, which may be secrets, and the values as written."""
    upstream_tls: UpstreamTls = NO_TLS
    """The content of `upstream_ca`, `upstream_cert` and `upstream_key`."""
    forward_auth_tls: UpstreamTls = NO_TLS
    """The content of `forward_auth_ca`."""
    shared_limits_password: str = field(default="", repr=False)
    """The content of `shared_limits_password_file`."""
    shared_limits_tls: UpstreamTls = NO_TLS
    """The content of `shared_limits_ca`."""

    def shown(self, name: str) -> str:
        """A setting's value for people: as it was written, if it has variables of the environment."""
        written = dict(self.written).get(name)
        return TABLE[name].kind.show(getattr(self, name)) if written is None else written

    @property
    def upstream_authority(self) -> str:
        """The first upstream's address as a Host field has it."""
        return self.upstream[0].address.authority if self.upstream else ""

    @property
    def cache_place(self) -> Path | None:
        """The directory of stored responses."""
        return self.cache_dir or (self.state_dir / "cache" if self.state_dir is not None else None)

    @property
    def stores(self) -> bool:
        """Whether responses are stored, of a route with these settings."""
        return bool(self.cache and self.upstream) and self.cache_place is not None

    @property
    def first_request_timeout(self) -> float:
        """How long a new connection may take to send its first request, and a multiplexed one to send the next."""
        return self.keepalive_timeout or self.head_timeout

    @property
    def secure(self) -> bool:
        """Whether the `bind` addresses use TLS."""
        return bool(self.certificates or self.acme or self.tls == "self-signed")

    @property
    def acme_servers(self) -> tuple[AcmeServer, ...]:
        """The authorities for certificates, in the order in which they are tried."""
        first = AcmeServer(self.acme_directory, self.acme_ca, self.acme_eab_kid, self.acme_eab_key, self.acme_profile)
        return (first, *self.more_acme_servers)

    @property
    def all_routes(self) -> tuple[RouteSettings, ...]:
        """The file's routes, and the default route if the top level says how to respond."""
        if self.upstream or serves_itself(self):
            return (*self.routes, RouteSettings("default", (), "/", False, self))
        return self.routes


def serves_itself(settings: Settings) -> bool:
    """Whether requests are answered here, without an upstream."""
    return bool(settings.redirect or settings.respond or settings.root or settings.gateway_health)


def _read_table() -> dict[str, Setting]:
    rows: dict[str, Setting] = {}
    for topic in Settings.__bases__:
        hints = get_type_hints(topic, include_extras=True)
        for column in fields(topic):
            row: Setting = hints[column.name].__metadata__[0]
            rows[column.name] = replace(row, name=column.name, group=vars(topic)["GROUP"], default=column.default)
    return rows


WAYS = ("upstream", "redirect", "respond", "root", "gateway_health")
"""The settings that say how a request is answered: a route has one of them, or root and upstream."""
RESPONSE_KEYS = (*WAYS, "fallback")
"""What a route with its own way to respond does not inherit."""

TABLE = _read_table()
NAMES = {spelling: row for row in TABLE.values() for spelling in (row.name, *row.aliases)}


def table() -> list[Setting]:
    """The rows in the order of the reference page."""
    return list(TABLE.values())
