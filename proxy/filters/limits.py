"""The steps that keep out who may not come in, or asks too much."""

from proxy.exchange.filter_chain import Filter
from proxy.filters.access import AccessList
from proxy.filters.basic_auth import BasicAuth
from proxy.filters.forward_auth import ForwardAuth
from proxy.filters.rates import RateLimit, WebSocketLimit
from proxy.limits import WorkerLimits
from proxy.settings import Settings
from proxy.upstream.pool import Pool
from proxy.wire.forwarding import TrustedPeers


def limiting_steps(name: str, settings: Settings, limits: WorkerLimits) -> list[Filter]:
    """What costs nothing and comes first: who may come in at all, and how often."""
    steps: list[Filter] = []
    if settings.allow or settings.deny:
        steps.append(AccessList(settings.allow, settings.deny))
    if settings.rate is not None:
        steps.append(RateLimit(name, settings.rate, settings.burst, settings.rate_by, limits))
    if settings.max_client_websockets:
        trusted = TrustedPeers(settings.trusted_proxies.networks, unix=settings.trusted_proxies.unix)
        steps.append(WebSocketLimit(settings.max_client_websockets, trusted, limits))
    return steps


def asking_steps(name: str, settings: Settings, limits: WorkerLimits, auth_pool: Pool | None) -> list[Filter]:
    """Who it is: `auth_pool` leads to the service that decides, where there is one."""
    steps: list[Filter] = []
    if settings.basic_auth is not None:
        steps.append(BasicAuth(name, settings.basic_auth, limits))
    if auth_pool is not None:
        steps.append(ForwardAuth(settings.forward_auth, settings.forward_auth_fields, auth_pool))
    return steps
