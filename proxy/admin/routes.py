"""Routes and their peers for status and commands: the settings, with runtime overrides and the workers' views."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxy.admin.overrides import Overrides
from proxy.admin.services import Service, in_force, obstacle, with_services
from proxy.observe.numbers import PeerSnapshot, PeerState, PeerView
from proxy.settings import RouteSettings, Settings
from proxy.settings.values import Peer

_UNSEEN = PeerView(0, 0, 0, PeerSnapshot())


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """A peer of a route. `draining` is an override of this route; `view` is over all routes."""

    address: str
    weight: int
    draining: bool
    view: PeerView
    limit: int = 0
    """Connections that one worker may have to it; 0: as many as are needed."""

    @property
    def state(self) -> str:
        if self.draining:
            return PeerState.DRAINING.name.lower()
        return self.view.snapshot.state.name.lower()

    def document(self) -> dict[str, Any]:
        return {
            "peer": self.address,
            "weight": self.weight,
            "state": self.state,
            "limit": self.limit,
            **connections(self.view),
        }


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route. `configured` are the upstreams in the settings, `peers` those in use."""

    route: RouteSettings
    configured: tuple[str, ...]
    peers: tuple[PeerEntry, ...]
    maintenance: bool
    paused: bool
    deployed: bool
    """Whether it is a service, not a route of the settings."""
    rollout: tuple[PeerEntry, ...] = ()
    """The peers of a part of its clients."""

    @property
    def name(self) -> str:
        return self.route.name

    def replacing(self, peer: str, by: tuple[str, ...]) -> tuple[str, ...]:
        """The peers in use, with one of them replaced."""
        found: list[str] = []
        for one in self.peers:
            found += by if one.address == peer else [str(replace(Peer.parse(one.address), weight=one.weight))]
        return tuple(dict.fromkeys(found))

    def document(self) -> dict[str, Any]:
        in_use = [peer.address for peer in self.peers]
        configured = [str(Peer.parse(text).address) for text in self.configured]
        return {
            "name": self.name,
            "hosts": list(self.route.hosts),
            "path": self.route.path,
            "exact": self.route.exact,
            "asks": self.route.matching.texts,
            "answer": _answer(self.route.settings),
            "maintenance": self.maintenance,
            "paused": self.paused,
            "deployed": self.deployed,
            "switched_from": configured if in_use != configured else [],
            "peers": [
                *({**peer.document(), "rollout": False} for peer in self.peers),
                *({**peer.document(), "rollout": True} for peer in self.rollout),
            ],
        }


def connections(view: PeerView) -> dict[str, Any]:
    """Connections and counters of a peer."""
    return {
        "idle": view.snapshot.idle,
        "busy": view.snapshot.busy,
        "connects": view.connects,
        "reuses": view.reuses,
        "failures": view.failures,
        "probed": view.snapshot.probed or None,
        "since": view.snapshot.since or None,
        "outages": view.snapshot.outages,
        "downtime": view.snapshot.downtime,
    }


def routes(settings: Settings, overrides: Overrides, views: Mapping[str, PeerView]) -> list[RouteView]:
    """All routes, those of services too. `views`: peers by address."""
    deployed = {service.name: service for service in in_force(settings, overrides.services)}
    everything = with_services(settings, deployed.values()).all_routes
    return [_view(route, overrides, views, deployed.get(route.name)) for route in everything]


def services(settings: Settings, overrides: Overrides) -> list[dict[str, Any]]:
    """All services; `set_aside`: why the settings leave one out, empty if it serves."""
    own = settings.all_routes
    return [{**service.document(), "set_aside": obstacle(service, own)} for service in overrides.services]


def _view(
    route: RouteSettings, overrides: Overrides, views: Mapping[str, PeerView], service: Service | None
) -> RouteView:
    configured = () if _answer(route.settings) else tuple(map(str, route.settings.upstream))

    def entries(texts: Iterable[str]) -> tuple[PeerEntry, ...]:
        return tuple(
            PeerEntry(
                str(peer.address),
                peer.weight,
                overrides.is_drained(route.name, str(peer.address)),
                views.get(str(peer.address), _UNSEEN),
                route.settings.peer_connections,
            )
            for peer in map(Peer.parse, texts)
        )

    return RouteView(
        route,
        configured,
        entries(overrides.upstreams(route.name, configured)),
        overrides.in_maintenance(route.name),
        overrides.pause(route.name) > 0,
        service is not None,
        entries(service.rollout.target if service is not None and service.rollout is not None else ()),
    )


def _answer(settings: Settings) -> str:
    """What the gateway itself responds with, in words; empty for a route with an upstream alone."""
    if settings.redirect:
        return f"redirect to {settings.shown('redirect')}"
    if settings.respond:
        return f"text, {settings.respond_status}"
    if settings.root:
        then = ", then the upstream" if settings.upstream else ""
        return f"files of {settings.shown('root')}{then}"
    return "health of the gateway" if settings.gateway_health else ""
