"""How peers are probed: as clients of their route would ask them."""

from proxy.settings import Settings


def probe_host(settings: Settings, client_host: str) -> str:
    """The Host of probes: what the application gets from clients that ask for this one; empty: the peer's own."""
    if settings.upstream_host == "client":
        return client_host.removeprefix("*.")
    return "" if settings.upstream_host == "upstream" else settings.upstream_host


def probe_scheme(settings: Settings, *, secure: bool) -> str:
    if settings.health_scheme == "auto":
        return "https" if secure else "http"
    return settings.health_scheme
