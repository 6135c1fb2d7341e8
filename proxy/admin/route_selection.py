"""Which routes a command means, when these overrides are in force. Raises `Refused` where it means none."""

from proxy.admin.command_body import Refused
from proxy.admin.overrides import EVERY, Overrides
from proxy.admin.routes import RouteView, routes
from proxy.settings import Settings


def named(name: str, settings: Settings, overrides: Overrides) -> list[RouteView]:
    """The route of a name, or all for EVERY."""
    views = routes(settings, overrides, {})
    found = [view for view in views if name in (view.name, EVERY)]
    if not found:
        known = ", ".join(view.name for view in views)
        there = f"routes are {known}" if known else "there is none yet: deploy a service, or configure a route"
        raise Refused(404, f"no route {name!r}; {there}" if name else f"route: expected one route; {there}")
    return found


def with_peer(peer: str, route: str, settings: Settings, overrides: Overrides) -> list[RouteView]:
    """Those of the routes that `named` finds which have the peer."""
    views = named(route, settings, overrides)
    found = [view for view in views if any(peer == other.address for other in view.peers)]
    if not found:
        known = sorted({other.address for view in views for other in view.peers})
        raise Refused(404, f"no peer {peer!r} {where(route)}; peers are {', '.join(known) or 'none'}")
    return found


def others_with(peer: str, route: str, settings: Settings, overrides: Overrides) -> list[str]:
    """The names of the other routes that have the peer; there may be none."""
    return [
        view.name
        for view in routes(settings, overrides, {})
        if view.name != route and any(peer == other.address for other in view.peers)
    ]


def where(route: str) -> str:
    """A route, or all, in words."""
    return "on all routes" if route == EVERY else f"on route {route}"
