"""Building the filters of a route from its settings."""

from collections.abc import Callable

from proxy import errors
from proxy.errors import ExchangeError, Failure
from proxy.exchange.filter_chain import Filter, FilterChain
from proxy.exchange.request import Request
from proxy.filters.cors import Preflight
from proxy.filters.files import Files, FilesFirst, FilesOrPage
from proxy.filters.limits import authenticating_filters, limiting_filters
from proxy.filters.maintenance import Maintenance
from proxy.filters.redirect import Redirect, Slash
from proxy.filters.rewrite import cors_of
from proxy.filters.template import Template, escape_for
from proxy.filters.text import FixedText, GatewayHealth
from proxy.limits import WorkerLimits
from proxy.settings import Settings
from proxy.upstream.pool import Pool
from proxy.wire.route_path import RoutePath


def build_files(settings: Settings, path: RoutePath) -> Files:
    """The files of a route with `root`, which applies at `path`."""
    assert settings.root is not None
    mount = path if settings.strip_prefix else None
    return Files(settings.root, settings.index, mount, listed=settings.listing and not settings.internal)


def build_filters(
    name: str,
    settings: Settings,
    path: RoutePath,
    mount: RoutePath | None,
    limits: WorkerLimits,
    auth_pool: Pool | None,
    *,
    maintenance: bool,
    draining: Callable[[], bool],
) -> FilterChain | None:
    """The filters in their order, or None if there are none.

    `name` and `path` are the name of the route and its path, `mount` the path that is redirected to if its slash is
    missing; `auth_pool` leads to the service that authorizes requests.
    """
    if settings.internal:
        return FilterChain([NoRoute()])
    filters: list[Filter] = []
    if maintenance:
        filters.append(Maintenance(settings.maintenance_allow))
    filters += limiting_filters(name, settings, limits)
    cors = cors_of(settings)
    if cors is not None:
        filters.append(Preflight(cors))
    filters += authenticating_filters(name, settings, limits, auth_pool)
    if mount is not None:
        filters.append(Slash(mount))
    local = _local_responder(settings, path, draining)
    if local is not None:
        filters.append(local)
    return FilterChain(filters) if filters else None


def _local_responder(settings: Settings, path: RoutePath, draining: Callable[[], bool]) -> Filter | None:
    if settings.redirect:
        return Redirect(settings.redirect, settings.redirect_status, path, settings.upstream_authority)
    if settings.respond:
        text = Template(settings.respond, path, settings.upstream_authority, escape_for(settings.respond_type))
        return FixedText(text, settings.respond_status, settings.respond_type)
    if settings.root is not None:
        files = build_files(settings, path)
        if settings.upstream:
            return FilesFirst(files)
        return FilesOrPage(files, settings.fallback) if settings.fallback else files
    if settings.gateway_health:
        return GatewayHealth(draining)
    if settings.upstream:
        return None
    return NoRoute(errors.NO_ROUTE if settings.routes else errors.NOT_DEPLOYED)


class NoRoute:
    """Refuses requests that no route takes."""

    def __init__(self, failure: Failure = errors.NO_ROUTE) -> None:
        self._failure = failure

    def check(self, _request: Request) -> None:
        raise ExchangeError(self._failure)
