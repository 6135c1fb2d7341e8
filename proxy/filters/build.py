"""The gate of a route, made of what its settings ask for."""

from collections.abc import Callable

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.filter_chain import Filter, FilterChain
from proxy.exchange.request import Request
from proxy.filters.cors import Preflight
from proxy.filters.files import Files
from proxy.filters.limits import asking_steps, limiting_steps
from proxy.filters.maintenance import Maintenance
from proxy.filters.redirect import Redirect, Slash
from proxy.filters.rewrite import cors_of
from proxy.filters.text import FixedText, GatewayHealth
from proxy.limits import WorkerLimits
from proxy.settings import Settings
from proxy.upstream.pool import Pool


def build_gate(
    name: str,
    settings: Settings,
    prefix: bytes,
    mount: bytes,
    limits: WorkerLimits,
    auth_pool: Pool | None,
    *,
    maintenance: bool,
    draining: Callable[[], bool],
) -> FilterChain | None:
    """The steps in their order, or None where there are none.

    `name` and `prefix` are the name of the route and its path, `mount` the path that is asked for without its slash;
    `auth_pool` leads to the service that decides.
    """
    steps: list[Filter] = []
    if maintenance:
        steps.append(Maintenance(settings.maintenance_allow))
    steps += limiting_steps(name, settings, limits)
    cors = cors_of(settings)
    if cors is not None:
        steps.append(Preflight(cors))
    steps += asking_steps(name, settings, limits, auth_pool)
    if mount:
        steps.append(Slash(mount))
    local = _local_answer(settings, prefix, draining)
    if local is not None:
        steps.append(local)
    return FilterChain(steps) if steps else None


def _local_answer(settings: Settings, prefix: bytes, draining: Callable[[], bool]) -> Filter | None:
    if settings.redirect:
        return Redirect(settings.redirect, settings.redirect_status, prefix)
    if settings.respond:
        return FixedText(settings.respond, settings.respond_status, settings.respond_type)
    if settings.root is not None:
        return Files(settings.root, settings.index, prefix if settings.strip_prefix else b"")
    if settings.gateway_health:
        return GatewayHealth(draining)
    return None if settings.upstream else NoRoute()


class NoRoute:
    """For requests that no route is meant for."""

    def check(self, _request: Request) -> None:
        raise ExchangeError(errors.NO_ROUTE)
