"""Builds what a configuration describes: routes, their peers, and the probes of those peers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from proxy.admin.overrides import Overrides
from proxy.admin.services import in_force, with_services
from proxy.cache.build import build_cache
from proxy.cache.refresh import Refresh
from proxy.cache.route_cache import RouteCache
from proxy.exchange.matchers import Matchers
from proxy.exchange.relay import RelayLimits
from proxy.exchange.route import Match, Route, Tables, without_slash
from proxy.filters.build import build_filters
from proxy.filters.offload import FileOffload, InternalFiles
from proxy.filters.rewrite import build_rewrite
from proxy.limits import WorkerLimits
from proxy.observe.exchange_counters import UNROUTED, uncounted
from proxy.process.probing import probe_host, probe_scheme
from proxy.process.upstreams import Upstreams
from proxy.settings import ANY, RouteSettings, Settings
from proxy.settings.check import knows_user
from proxy.settings.values import Peer as PeerSetting
from proxy.upstream import balance
from proxy.upstream.cluster import Cluster, Peer
from proxy.upstream.probe import Probing
from proxy.upstream.rollout import Share
from proxy.wire.request_line import HeadLimits
from proxy.wire.route_path import RoutePath
from proxy.wire.unusual import UnusualNames
from proxy.wire.upgrade import Upgrades
from proxy.wire.via import NO_VIA, Via


def build_tables(
    settings: Settings, upstreams: Upstreams, overrides: Overrides, draining: Callable[[], bool]
) -> Tables:
    """All routes of a configuration and the runtime overrides, services included, ready for use.

    Requests that match no route get a response in the style of the top level of the settings.
    """
    overrides = replace(overrides, services=in_force(settings, overrides.services))
    settings = with_services(settings, overrides.services)
    routes = settings.all_routes
    internal = InternalFiles()
    caching = any(route.settings.stores for route in routes)

    def matches_of(route: RouteSettings) -> list[Match]:
        return build_matches(route, upstreams, overrides, draining, internal, caching=caching)

    matches = [match for route in routes for match in matches_of(route)]
    internal.take(matches)
    probe_peers(matches, settings, upstreams)
    matches += without_slash(matches)
    if routes == settings.routes:
        unrouted = RouteSettings(UNROUTED, (), "/", False, settings)
        matches += matches_of(unrouted)
    fields = settings.max_fields - settings.tracing  # one is for traceparent
    dots = any(route.settings.dot_segments == "pass" for route in routes)
    limits = HeadLimits(settings.max_request_line, settings.max_field, fields, settings.max_head, dots)
    return Tables(settings, limits, matches)


def build_matches(
    route: RouteSettings,
    upstreams: Upstreams,
    overrides: Overrides,
    draining: Callable[[], bool],
    internal: InternalFiles,
    *,
    caching: bool,
) -> list[Match]:
    """A route, once per host."""
    built = build_route(route, upstreams, overrides, draining, internal, caching=caching)
    path = path_of(route)
    matchers = None if route.matching == ANY else Matchers(route.matching)
    return [Match(host.encode(), path, built, matchers) for host in route.hosts or ("",)]


def path_of(route: RouteSettings) -> RoutePath:
    """Where a route applies."""
    return RoutePath(route.path.encode(), exact=route.exact)


def probe_peers(matches: Iterable[Match], settings: Settings, upstreams: Upstreams) -> None:
    """Probe the peers of each route with a health_path, with the host and scheme that its clients use."""
    for match in matches:
        own = match.route.settings
        if not own.health_path:
            continue
        scheme = probe_scheme(own, secure=settings.secure)
        probing = Probing(
            own.health_path, own.health_host, scheme, own.health_status, own.health_interval, own.health_timeout
        )
        host = probe_host(own, match.host.decode() or next(iter(settings.domain), ""))
        for pool in match.route.cluster.pools:
            upstreams.probe(pool, probing, host)


def link_successor(old: Tables, new: Tables) -> None:
    """Let requests that wait for a peer of the old tables use a peer of the same route in the new."""
    clusters = {route.name: route.cluster for route in new.routes}
    for route in old.routes:
        route.cluster.successor = clusters.get(route.name)


def build_route(
    route: RouteSettings,
    upstreams: Upstreams,
    overrides: Overrides,
    draining: Callable[[], bool],
    internal: InternalFiles,
    *,
    caching: bool,
) -> Route:
    """Build one route; `caching`: responses of some are stored."""
    settings = route.settings
    path = path_of(route)
    mounted = settings.strip_prefix and not route.exact and (settings.upstream or settings.root)
    mount = path if mounted and path.text != b"/" else None
    cluster = build_cluster(route.name, settings, upstreams, overrides)
    built = Route(
        route.name,
        settings,
        RelayLimits.of(settings),
        cluster,
        build_filters(
            route.name,
            settings,
            path,
            mount,
            upstreams.limits,
            upstreams.auth_pool(settings),
            maintenance=overrides.in_maintenance(route.name),
            draining=draining,
        ),
        rewrite := build_rewrite(settings, path, cluster),
        via := build_via(route, upstreams.limits),
        build_unusual(settings),
        Upgrades(settings.upgrade),
        offload=FileOffload(settings.sendfile_root, internal),
        cache=(
            cache := build_cache(route, upstreams.stores, cluster, rewrite, via, upstreams.counters, beside=caching)
        ),
        peer_host=settings.upstream_host == "upstream",
        authenticates=knows_user(settings),
        logged=settings.log_requests,
        counted=upstreams.counters.route(route.name) if settings.metrics else uncounted(),
    )
    if isinstance(cache, RouteCache):
        cache.refresh = Refresh(upstreams.context, built)
    return built


def build_via(route: RouteSettings, limits: WorkerLimits) -> Via:
    """A route's name in Via: the same in all workers, different in every other gateway."""
    return Via(b"aragora-%x" % limits.keys("via").of_value(route.name.encode())) if route.settings.via else NO_VIA


def build_unusual(settings: Settings) -> UnusualNames:
    """Which request fields with unusual names a route passes on."""
    own = (*(name for name, _ in settings.set_request_fields), *settings.remove_request_fields)
    return UnusualNames((*own, *settings.forward_auth_fields), passes=settings.underscores_in_fields)


def build_cluster(name: str, settings: Settings, upstreams: Upstreams, overrides: Overrides) -> Cluster:
    """A route's peers, after switches, and how one is chosen."""
    configured = tuple(map(str, settings.upstream))
    queue = upstreams.queue(settings) if settings.peer_connections and settings.queue else None
    service = overrides.service(name)
    rollout = service.rollout if service is not None else None

    def cluster(texts: Sequence[str], **more: Any) -> Cluster:
        peers = [
            Peer(
                upstreams.pool(peer.address, settings),
                peer.weight,
                settings.peer_connections,
                draining=overrides.is_drained(name, str(peer.address)),
            )
            for peer in map(PeerSetting.parse, texts)
        ]
        if queue is not None:
            for peer in peers:
                peer.pool.serve(queue)
        choose = balance.policy(settings.balance)
        return Cluster(peers, choose, key=settings.hash_by, sticky=settings.sticky_cookie, queue=queue, **more)

    return cluster(
        overrides.upstreams(name, configured),
        pause=upstreams.pause(name, overrides.pause(name)),
        rollout=None if rollout is None else (Share(name, *rollout.share), cluster(rollout.target)),
    )
