"""The first line of a start: what listens and for which clients, where requests go, and where the status page is."""

from collections.abc import Sequence
from typing import Any

from proxy.process.certificate_store import self_signed_file
from proxy.process.listeners import Listeners, Role, address_of
from proxy.settings import Address, RouteSettings, Settings

_MOST = 3
"""Addresses, routes or upstreams that are named; the rest are counted."""


def banner(version: str, settings: Settings, listeners: Listeners) -> str:
    """One line, for the log and for `systemctl status`."""
    fronts = [_front(listener, listeners, settings) for listener in listeners.clients]
    return (
        f"aragora-proxy {version}: {_listed(fronts)} -> {_targets(settings)}; "
        f"status page {_status_page(listeners, settings)}"
    )


def _front(listener: Any, listeners: Listeners, settings: Settings) -> str:
    secure = settings.secure and not listeners.is_plain(listener, settings)
    return (
        f"{listeners.url(listener, settings)} ({_reach(address_of(listener))}, {_protection(settings, secure=secure)})"
    )


def _reach(address: Address) -> str:
    if address.path:
        return "local socket"
    return "this machine only" if address.loopback else "other machines too"


def _protection(settings: Settings, *, secure: bool) -> str:
    if not secure:
        return "not encrypted"
    if settings.certificates:
        return "TLS"
    if settings.acme:
        return "TLS, certificate from ACME"
    if settings.state_dir is None:
        return "TLS, self-signed certificate"
    return f"TLS, self-signed certificate {self_signed_file(settings.state_dir)}"


def _targets(settings: Settings) -> str:
    routes = settings.all_routes
    if not routes:
        return "nothing yet: deploy a service, aragora-proxy deploy NAME --target ADDRESS"
    if len(routes) == 1 and not settings.routes:
        return _target(settings)
    return _listed([f"{_match(route)} to {_target(route.settings)}" for route in routes])


def _match(route: RouteSettings) -> str:
    return f"{route.hosts[0] if route.hosts else ''}{route.path}"


def _target(settings: Settings) -> str:
    if settings.upstream:
        peers = _listed([str(peer.address) for peer in settings.upstream])
        return f"files of {settings.root}, then {peers}" if settings.root else peers
    if settings.root:
        return f"files of {settings.root}"
    return "a redirect" if settings.redirect else "a response of the gateway"


def _status_page(listeners: Listeners, settings: Settings) -> str:
    listener = listeners.one(Role.ADMIN)
    if listener is None:
        return "off"
    place = listeners.url(listener, settings)
    return place if address_of(listener).path else f"{place}/"


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - _MOST
    return ", ".join(parts[:_MOST]) + (f" and {more} more" if more > 0 else "")
