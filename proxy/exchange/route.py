"""Routes: which requests are served alike, and how.

A request belongs to the route with its host, else to the wildcard with most labels, else to one without host; within
those to its exact path, else the longest prefix that ends where a segment ends, and of routes with one path to the one
that asks for most (`proxy.exchange.matchers`). The path is compared as an application would read it, percent-decoded
and with repeated slashes taken as one: "/%61dmin" is no way around a rule for "/admin". A request about the whole
server ("OPTIONS *") goes where "/" does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.caching import Cache
from proxy.exchange.filter_chain import FilterChain
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.matchers import Matchers
from proxy.exchange.relay import RelayLimits
from proxy.exchange.request import Request
from proxy.log import log
from proxy.observe.exchange_counters import RouteCounters, uncounted
from proxy.observe.metrics import Counters
from proxy.settings import Settings
from proxy.upstream.cluster import Cluster
from proxy.wire.authority import AUTHORITIES
from proxy.wire.forwarding import TrustedPeers
from proxy.wire.request import RequestFields
from proxy.wire.request_line import HeadLimits
from proxy.wire.response import ResponseHead
from proxy.wire.route_path import RoutePath
from proxy.wire.target import has_dot_segment, is_confined, names, normalised
from proxy.wire.unusual import NO_UNUSUAL, UnusualNames
from proxy.wire.upgrade import WEBSOCKETS, Upgrades
from proxy.wire.via import NO_VIA, Via

_MOST_WARNINGS = 64
_LONGEST_NAME = 64


class Rewrite(Protocol):
    """What a route changes in requests and responses (`proxy.filters.rewrite`). Each change makes a new head."""

    def outgoing(self, request: Request) -> Request:
        """The request as the upstream gets it."""

    def incoming(self, request: Request, response: ResponseHead, peer: str) -> tuple[ResponseHead, bytes]:
        """A peer's response as the client gets it, and the content coding to apply to its body."""

    def local(self, request: Request, local: LocalResponse) -> tuple[ResponseHead, ResponseHead, bytes]:
        """The heads of a response of the gateway's own, without and with the content coding that its body may get."""

    def refusal(self, request: Request, error: ExchangeError) -> tuple[ResponseHead, bytes]:
        """Head and body of the response to a request that failed."""


class Responder(Protocol):
    """What responds in the place of an upstream, once the request's body was read; it may wait.

    `name` is what the log has in the place of a peer's address.
    """

    @property
    def name(self) -> str: ...

    def respond(self, request: Request) -> LocalResponse:
        """Raises `ExchangeError` or `ClientGone`."""


class Offload(Protocol):
    """What sends something else in the place of an application's response that asks for it in a field."""

    def takes(self, name: bytes) -> bool:
        """Whether it knows what to do for a field of this name."""

    def response(self, request: Request, response: ResponseHead) -> LocalResponse:
        """May wait. Raises `ExchangeError` or `ClientGone`."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Everything that serving a request takes, ready for use. `settings` are the route's own.

    `filters` and `rewrite` are None if there are none; a `responder` takes the place of the cluster.
    """

    name: str
    settings: Settings
    relay_limits: RelayLimits
    cluster: Cluster
    filters: FilterChain | None
    rewrite: Rewrite | None = None
    via: Via = NO_VIA
    unusual: UnusualNames = NO_UNUSUAL
    upgrades: Upgrades = WEBSOCKETS
    responder: Responder | None = None
    offload: Offload | None = None
    cache: Cache | None = None
    peer_host: bool = False
    """Whether the upstream is sent its own name or address as Host."""
    authenticates: bool = False
    """Whether its filters find out the user of a request."""
    logged: float = 1.0
    """The share of its requests that the access log has."""
    counted: RouteCounters = field(default_factory=uncounted)

    _warned: set[bytes] = field(default_factory=set, init=False)
    """Names of dropped fields that were warned of, of requests and of responses."""

    @property
    def host(self) -> bytes:
        """The Host of requests that have none, as HTTP/1.0 allows: the application's own address."""
        return self.settings.upstream_authority.encode()

    def note_offload(self, offload: bytes, counters: Counters) -> None:
        """Count X-Accel-Redirect or its like, and warn once that the application relies on it."""
        name = offload.lower()
        counters.response_field_dropped(name.decode("ascii"))
        if name not in self._warned:
            self._warned.add(name)
            log.warning(
                "route %s: the application responds with %s, which asks a proxy to send something else in its place: "
                "the field is dropped, the response sent as it is; let the application send it, or set sendfile_root, "
                "or an internal route (docs/howto/sendfile.md)",
                self.name,
                offload.decode("ascii"),
            )

    def note_dropped(self, name: bytes, counters: Counters) -> None:
        """Count a request field that the application does not get; warn once of each name, up to a bound."""
        counters.request_field_dropped(name[:_LONGEST_NAME].lower().decode("ascii"))
        if name not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add(name)
            log.warning(
                "route %s: the request field %s is dropped: servers that make variables of names confuse its characters"
                " with others; rename it, or set underscores_in_fields unless it resembles a field of the gateway",
                self.name,
                name[:_LONGEST_NAME].decode("ascii"),
            )


@dataclass(frozen=True, slots=True)
class Match:
    """Where a route applies: `host` is a name, "*.name" or "" for all; `matchers` ask for more than host and path."""

    host: bytes
    path: RoutePath
    route: Route
    matchers: Matchers | None = None

    def takes(self, path: bytes, method: bytes, target: bytes, fields: RequestFields) -> bool:
        """Whether it takes a request with this normalised path."""
        matchers = self.matchers
        return self.path.takes(path) and (matchers is None or matchers.take(method, target, fields))

    @property
    def unconditional(self) -> bool:
        """Whether it takes every request of its host."""
        return self.matchers is None and self.path.text == b"/" and not self.path.exact


def _order(match: Match) -> tuple[object, int]:
    return match.path.rank, 0 if match.matchers is None else -match.matchers.count


class Routes:
    """All routes of one configuration."""

    def __init__(self, matches: Iterable[Match]) -> None:
        self._by_host: dict[bytes, list[Match]] = {}
        for match in sorted(matches, key=_order):
            self._by_host.setdefault(match.host, []).append(match)

    def find(self, host: bytes | None, target: bytes, method: bytes, fields: RequestFields) -> Route | None:
        """The route of a request, or None."""
        path = normalised(target) if target != b"*" else b"/"
        for name in _hosts(host):
            for match in self._by_host.get(name, ()):
                if match.takes(path, method, target, fields):
                    return match.route
        return None

    def covers(self, host: bytes, path: bytes) -> bool:
        """Whether some route takes a path of this host, whatever else it asks for."""
        return any(match.path.takes(path) for name in _hosts(host) for match in self._by_host.get(name, ()))

    def confining(self, host: bytes | None, target: bytes, method: bytes, fields: RequestFields) -> Route | None:
        """The route that a target leads to whichever of its dot segments are resolved, or None if that is not sure.

        It stays below the route's own path, and has no name with which another route's goes on from there.
        """
        path = target.partition(b"?")[0]
        matches = [
            match
            for name in _hosts(host)
            for match in self._by_host.get(name, ())
            if match.matchers is None or match.matchers.take(method, target, fields)
        ]
        own = next((match for match in matches if match.path.takes(normalised(path))), None)
        place = None if own is None or own.path.exact else own.path.place(path)
        if own is None or place is None:
            return None
        rest = path[len(place) :]
        if not is_confined(rest):
            return None
        mentioned = set(names(rest))
        if any(match.route is not own.route and match.path.meets(place, mentioned) for match in matches):
            return None
        return own.route


def without_slash(matches: Sequence[Match]) -> list[Match]:
    """Matches for the paths of routes that end with a slash without it, as /app for /app/.

    A mounted application is, unless a route is written for that very path; any other only where no route takes it.
    """
    known = Routes(matches)
    written = {(match.host, match.path.shape) for match in matches}
    found = []
    for match in matches:
        bare = match.path.shape[:-1]
        if not match.path.slashed or not bare or match.path.exact or (match.host, bare) in written:
            continue
        # Which paths a pattern takes is known only when they are requested.
        if match.route.settings.strip_prefix or not (match.path.variable or known.covers(match.host, bare)):
            found.append(Match(match.host, match.path.without_slash(), match.route, match.matchers))
    return found


def _hosts(host: bytes | None) -> Iterable[bytes]:
    """The keys under which a host's routes may stand, narrowest first."""
    if host:
        authority = AUTHORITIES[host]
        name = authority.host if authority is not None else host
        yield name
        _, dot, rest = name.partition(b".")
        while dot:
            yield b"*." + rest
            _, dot, rest = rest.partition(b".")
    yield b""


class Tables:
    """Everything one configuration says, ready for use; a reload builds a new one and swaps the reference."""

    def __init__(self, settings: Settings, head_limits: HeadLimits, routes: Sequence[Match]) -> None:
        self.settings = settings
        self.head_limits = head_limits
        self.matches = tuple(routes)
        self.routes = tuple(dict.fromkeys(match.route for match in routes))
        self.trusted = TrustedPeers(settings.trusted_proxies.networks, unix=settings.trusted_proxies.unix)
        self._matches = Routes(routes)
        only = routes[0] if len(routes) == 1 else None
        self._only = only.route if only is not None and not only.host and only.unconditional else None

    def route_for(self, host: bytes | None, target: bytes, method: bytes, fields: RequestFields) -> Route | None:
        """The route of a request, or None. Raises `ExchangeError` for dot segments that may not be resolved."""
        if self.head_limits.dots and has_dot_segment(target):
            return self._route_for_dots(host, target, method, fields)
        return self._only or self._matches.find(host, target, method, fields)

    def _route_for_dots(self, host: bytes | None, target: bytes, method: bytes, fields: RequestFields) -> Route:
        """The route of a path with dot segments, if it is the one whatever of them the application resolves."""
        route = self._matches.confining(host, target, method, fields)
        if route is None or route.settings.dot_segments != "pass":
            raise ExchangeError(errors.TARGET_PATH)
        return route
