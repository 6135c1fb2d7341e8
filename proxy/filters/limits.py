"""Building the filters that refuse clients which may not pass, or send too many requests."""

from typing import TYPE_CHECKING

from proxy.exchange.filter_chain import Filter
from proxy.filters.access import AccessList
from proxy.filters.basic_auth import BasicAuth
from proxy.filters.forward_auth import ForwardAuth
from proxy.filters.rates import RateLimit, WebSocketLimit
from proxy.limits import WorkerLimits
from proxy.settings import Settings
from proxy.upstream.pool import Pool
from proxy.wire.forwarding import TrustedPeers

if TYPE_CHECKING:
    from proxy.limits.leases import Leases
    from proxy.limits.link import Link


def limiting_filters(name: str, settings: Settings, limits: WorkerLimits) -> list[Filter]:
    """The cheap ones, which come first: addresses and rates."""
    filters: list[Filter] = []
    if settings.allow or settings.deny:
        filters.append(AccessList(settings.allow, settings.deny))
    if settings.rate is not None:
        rate = RateLimit(name, settings.rate, settings.burst, settings.rate_by, limits)
        filters.append(rate if limits.link is None else _shared(name, rate, limits.link))
    if settings.max_client_websockets:
        trusted = TrustedPeers(settings.trusted_proxies.networks, unix=settings.trusted_proxies.unix)
        alone = WebSocketLimit(settings.max_client_websockets, trusted, limits)
        filters.append(alone if limits.leases is None else _leased(alone, limits.leases))
    return filters


def _shared(name: str, rate: RateLimit, link: "Link") -> Filter:
    from proxy.filters.shared_rates import SharedRateLimit  # needs an optional library

    return SharedRateLimit(name, rate, link)


def _leased(alone: WebSocketLimit, leases: "Leases") -> Filter:
    from proxy.filters.shared_websockets import SharedWebSocketLimit  # needs an optional library

    return SharedWebSocketLimit(alone, leases)


def authenticating_filters(name: str, settings: Settings, limits: WorkerLimits, auth_pool: Pool | None) -> list[Filter]:
    """The ones that authenticate: `auth_pool` leads to the service that decides, if there is one."""
    filters: list[Filter] = []
    if settings.basic_auth is not None:
        filters.append(BasicAuth(name, settings.basic_auth, limits))
    if auth_pool is not None:
        filters.append(
            ForwardAuth(
                settings.forward_auth,
                settings.forward_auth_fields,
                auth_pool,
                sent=settings.forward_auth_request_fields,
                skip_preflights=settings.forward_auth_skip_preflights,
            )
        )
    return filters
