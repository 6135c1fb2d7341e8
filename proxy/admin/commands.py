"""Commands: checked against the settings, recorded as runtime overrides, confirmed once the workers apply them."""

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import gevent

from proxy.admin.command_body import Refused, listed, read_body
from proxy.admin.container_report import note_containers
from proxy.admin.override_file import OverrideFile
from proxy.admin.overrides import EVERY, LONGEST_PAUSE, OverrideRecord, Overrides, OverridesBusy
from proxy.admin.purge import Clear, purge
from proxy.admin.response import AdminResponse, refusal, structured
from proxy.admin.route_selection import named, others_with, where, with_peer
from proxy.admin.routes import RouteView, routes
from proxy.admin.services import Service, obstacle, tls_obstacle, with_services
from proxy.observe.marks import MarkKind
from proxy.observe.metrics import Board
from proxy.observe.numbers import Gauge
from proxy.observe.reports import Reports
from proxy.settings import Address, RouteSettings, Settings, is_own_address
from proxy.settings.values import Peer, kinds, web

PAUSE = 30.0  # seconds that a request of a paused route waits, by default
ADOPTION = 5.0  # seconds for the workers to apply new overrides
RELOAD = 10.0  # seconds for the master to read the settings again
_PAUSE = 0.02
_MARKED = {
    **dict.fromkeys(("drain", "undrain", "maintenance", "pause", "resume"), MarkKind.CHANGE),
    **dict.fromkeys(("switch", "deploy", "remove", "rollout"), MarkKind.DEPLOY),
}
"""The commands that the charts have a mark for; the master marks reloads."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What an address has to respond well to: a path, under a host if one is given, with one of these statuses."""

    path: str
    host: str
    statuses: tuple[range, ...]


Try = Callable[[RouteSettings, Address, Trial], str]
"""Probes an address as a route would connect to it: if the trial has a path, it must respond well to that. What is
wrong, or nothing."""


class Commands:
    """Commands, carried out for all workers by the one that received them."""

    def __init__(
        self,
        board: Board,
        book: OverrideRecord,
        settings: Callable[[], Settings],
        probe: Try,
        clear: Clear,
        reports: Reports,
    ) -> None:
        self._board = board
        self._book = book
        self._settings = settings
        self._try = probe
        self._actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "drain": self._drain,
            "undrain": self._undrain,
            "maintenance": self._maintain,
            "probe": self._probe,
            "switch": self._switch,
            "deploy": self._deploy,
            "remove": self._remove,
            "rollout": self._rollout,
            "pause": self._pause,
            "resume": self._resume,
            "containers": lambda given: note_containers(given, reports),
            "purge": lambda given: purge(given, clear),
            "reload": self._reload,
        }

    def carry_out(self, command: str, body: bytes) -> AdminResponse:
        """Carry out a command: 200 with the result, or 202 if some workers have not applied it yet."""
        try:
            given = read_body(command, body)
            only_checked = given.get("check", False)
            done = self._actions[command](given)
        except OverridesBusy as problem:
            return refusal(503, str(problem), b"Retry-After: 1\r\n")
        except Refused as problem:
            return structured({"error": str(problem), **problem.more}, problem.status)
        except ValueError as problem:
            return refusal(409, str(problem))
        if command in _MARKED and not only_checked:
            self._board.note(_MARKED[command], done["done"])
        return structured(done, 202 if done["behind"] else 200)

    # The commands.

    def _drain(self, given: dict[str, Any]) -> dict[str, Any]:
        peer, route = given["peer"], given.get("route", EVERY)

        def drained(overrides: Overrides) -> Overrides:
            for view in with_peer(peer, route, self._settings(), overrides):
                last = all(other.address == peer or other.draining for other in view.peers)
                if last and not given.get("force"):
                    raise Refused(
                        409,
                        f"route {view.name} would have no peer left: switch it to another peer, put it "
                        'into maintenance, or add "force": true (--force)',
                    )
            return overrides.drain(peer, route)

        return self._record(f"{peer} is drained {where(route)}", drained)

    def _undrain(self, given: dict[str, Any]) -> dict[str, Any]:
        peer, route = given["peer"], given.get("route", EVERY)

        def used(overrides: Overrides) -> Overrides:
            named(route, self._settings(), overrides)
            if not any(peer == name for _, name in overrides.drained):
                with_peer(peer, route, self._settings(), overrides)
            return overrides.undrain(peer, route, others_with(peer, route, self._settings(), overrides))

        return self._record(f"{peer} is used again {where(route)}", used)

    def _maintain(self, given: dict[str, Any]) -> dict[str, Any]:
        on, route = given["on"], given.get("route", EVERY)

        def maintained(overrides: Overrides) -> Overrides:
            if on or route not in overrides.maintained:  # the route may no longer exist
                named(route, self._settings(), overrides)
            if not on and route != EVERY and EVERY in overrides.maintained:
                raise Refused(409, f"all routes are in maintenance, not only {route}: end it for all")
            return overrides.maintain(on=on, route=route)

        return self._record(f"maintenance is {'on' if on else 'off'}, {where(route)}", maintained)

    def _probe(self, given: dict[str, Any]) -> dict[str, Any]:
        """Whether these upstreams are ready for what `switch`, or without a route `deploy`, would make of them."""
        if "route" in given or "peer" in given:
            routes = [view.route for view, _ in self._switched(given, self._book.get())]
        else:
            routes = [RouteSettings("", (), "/", False, self._settings())]
        try:
            statuses = web.STATUSES.read(given.get("statuses", "200-299"))
        except ValueError as problem:
            raise Refused(400, f"statuses: {problem}") from None
        trial = Trial(given.get("path", ""), given.get("host", ""), statuses)
        peers = self._new_peers(given)
        fault = next(filter(None, (self._try(route, peer.address, trial) for route in routes for peer in peers)), "")
        return {"done": fault or "ready", "fault": fault, "behind": []}

    def _switched(self, given: dict[str, Any], overrides: Overrides) -> list[tuple[RouteView, tuple[str, ...]]]:
        """The routes concerned, each with the upstreams that it would get."""
        if ("route" in given) == ("peer" in given):
            raise Refused(400, "set either 'route', to switch it, or 'peer', to replace it on all its routes")
        by = tuple(map(str, self._new_peers(given)))
        if "peer" in given:
            views = with_peer(given["peer"], EVERY, self._settings(), overrides)
            planned = [(view, view.replacing(given["peer"], by)) for view in views]
        else:
            views = named("" if given["route"] == EVERY else given["route"], self._settings(), overrides)
            planned = [(view, by) for view in views]
        for view, _ in planned:
            if not view.configured:
                raise Refused(409, f"route {view.name} has no upstream to switch: the gateway itself responds")
        return planned

    def _new_peers(self, given: dict[str, Any]) -> tuple[Peer, ...]:
        texts = listed(given["upstream"])
        if not texts:
            raise Refused(400, "upstream: expected at least one address")
        try:
            peers: tuple[Peer, ...] = kinds.PEERS.read(texts)
        except ValueError as problem:
            raise Refused(400, f"upstream {' '.join(texts)}: {problem}") from None
        self._check_addresses(peers)
        return peers

    def _switch(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give a route other upstreams, or replace a peer on all its routes."""
        views: list[RouteView] = []
        peers = self._new_peers(given)

        def switched(overrides: Overrides) -> Overrides:
            for view, served in self._switched(given, overrides):
                views.append(view)
                overrides = overrides.switch(view.name, view.configured, served)
                overrides = self._all_used(peers, view.name, overrides)
            return overrides

        version, names = self._change(switched), ", ".join(view.name for view in views)
        text = f"{'route' if len(views) == 1 else 'routes'} {names}: served by {', '.join(map(str, peers))}"
        done = self._await_adoption(text, version)
        after = routes(self._settings(), self._book.get(), {})
        stay = {peer.address for view in after for peer in view.peers}
        left = {peer.address for view in views for peer in view.peers} - stay
        return {**done, "routes": [view.name for view in views], "left": sorted(left)}

    def _deploy(self, given: dict[str, Any]) -> dict[str, Any]:
        """Make or replace a service; what is not given stays as it was, but a rollout, which ends."""

        def service_of(overrides: Overrides) -> Service:
            known = overrides.service(given["name"])
            if known and given.get("labelled") and not known.labelled:
                raise Refused(409, f"service {known.name} was deployed by command: remove it, or choose another name")
            before = known.document() if known else {}
            return self._service({**before, "rollout": None, "labelled": False, **given}, overrides)

        check = given.pop("check", False)
        return self._deployed(service_of, lambda service: f"served by {', '.join(service.target)}", check=check)

    def _rollout(self, given: dict[str, Any]) -> dict[str, Any]:
        """Have a part of a service's clients served by another target; what is not given stays as it was."""
        check, end = given.pop("check", False), given.pop("end", False)

        def service_of(overrides: Overrides) -> Service:
            known = self._known(given["name"], overrides).document()
            changes = {name: value for name, value in given.items() if name != "name"}
            rollout = None if end else {**(known["rollout"] or {}), **changes}
            return self._service({**known, "rollout": rollout}, overrides)

        def text(service: Service) -> str:
            rollout = service.rollout
            if rollout is None:
                return "the rollout has ended"
            clients = [
                *([f"{rollout.percent} % of clients"] if rollout.percent else []),
                *filter(None, [rollout.allow]),
            ]
            return f"{' and '.join(clients)} are served by {', '.join(rollout.target)}"

        return self._deployed(service_of, text, check=check)

    def _deployed(
        self, service_of: Callable[[Overrides], Service], text: Callable[[Service], str], *, check: bool
    ) -> dict[str, Any]:
        """Deploy what `service_of` makes of the overrides. `check`: only see whether that is possible."""
        before, overrides = self._peers(), self._book.get()
        service = service_of(overrides)
        if check:
            return {"service": service.document(), "version": overrides.version, "behind": []}

        def deployed(overrides: Overrides) -> Overrides:
            service = service_of(overrides)
            return self._all_used(map(Peer.parse, service.targets), service.name, overrides.deploy(service))

        return self._changed_service(f"service {service.name}: {text(service)}", deployed, before)

    def _service(self, document: dict[str, Any], overrides: Overrides) -> Service:
        """The service of a document, if it can serve."""
        try:
            service = Service.read(document)
        except ValueError as problem:
            raise Refused(400, str(problem)) from None
        self._check_addresses(map(Peer.parse, service.targets))
        if service.tls and (fault := tls_obstacle(service, self._settings())):
            raise Refused(409, fault)
        others = [other for other in overrides.services if other.name != service.name]
        if taken := obstacle(service, with_services(self._settings(), others).all_routes):
            raise Refused(409, taken)
        return service

    def _known(self, name: str, overrides: Overrides) -> Service:
        service = overrides.service(name)
        if service is None:
            known = ", ".join(one.name for one in overrides.services)
            raise Refused(404, f"no service {name!r}; services are {known}" if known else "nothing is deployed")
        return service

    def _remove(self, given: dict[str, Any]) -> dict[str, Any]:
        name, before = given["name"], self._peers()

        def removed(overrides: Overrides) -> Overrides:
            self._known(name, overrides)
            return overrides.remove(name)

        return self._changed_service(f"service {name} is removed", removed, before)

    def _pause(self, given: dict[str, Any]) -> dict[str, Any]:
        """Have the requests of a route wait."""
        route, seconds = given["route"], float(given.get("wait", PAUSE))
        if not 0 < seconds <= LONGEST_PAUSE:
            raise Refused(400, f"wait {seconds:g}: expected seconds, more than 0 and at most {LONGEST_PAUSE:g}")

        def paused(overrides: Overrides) -> Overrides:
            for view in named("" if route == EVERY else route, self._settings(), overrides):
                if not view.configured:
                    raise Refused(409, f"route {view.name} has no upstream to pause: the gateway itself responds")
            return overrides.hold(route, seconds)

        return self._record(f"route {route} is paused; a request waits for up to {seconds:g} s", paused)

    def _resume(self, given: dict[str, Any]) -> dict[str, Any]:
        route = given["route"]

        def resumed(overrides: Overrides) -> Overrides:
            if not overrides.pause(route):
                named("" if route == EVERY else route, self._settings(), overrides)
                raise Refused(409, f"route {route} is not paused")
            return overrides.resume(route)

        return self._record(f"route {route} goes on", resumed)

    def _changed_service(
        self, text: str, transition: Callable[[Overrides], Overrides], before: set[str]
    ) -> dict[str, Any]:
        """`before`: the peers of all routes then; those of them that no route has any more are in the response."""
        done = self._record(text, transition)
        return {**done, "left": sorted(before - self._peers()), "kept": self._settings().state_dir is not None}

    def _reload(self, _given: dict[str, Any]) -> dict[str, Any]:
        asked = self._book.change(Overrides.request_reload).reload_requests
        deadline = monotonic() + RELOAD
        while self._book.get().reloads_done < asked:
            if monotonic() > deadline:
                raise Refused(504, f"the master did not read the settings within {RELOAD:g} s; see the error log")
            gevent.sleep(_PAUSE)
        overrides = self._book.get()
        if overrides.mistakes:
            raise Refused(
                409,
                f"reload failed: {'; '.join(overrides.mistakes)}; keeping the current settings",
                mistakes=list(overrides.mistakes),
            )
        return self._await_adoption("settings reloaded", overrides.version)

    # Shared by the commands.

    def _check_addresses(self, peers: Iterable[Peer]) -> None:
        for peer in peers:
            if is_own_address(peer.address, self._settings()):
                raise Refused(409, f"{peer.address} is the gateway's own address; use the application's")

    def _peers(self) -> set[str]:
        """The peers of all routes, those of rollouts too."""
        views = routes(self._settings(), self._book.get(), {})
        return {peer.address for view in views for peer in (*view.peers, *view.rollout)}

    def _all_used(self, peers: Iterable[Peer], route: str, overrides: Overrides) -> Overrides:
        """None of these peers is drained on the route."""
        for address in (str(peer.address) for peer in peers):
            overrides = overrides.undrain(address, route, others_with(address, route, self._settings(), overrides))
        return overrides

    def _record(self, text: str, transition: Callable[[Overrides], Overrides]) -> dict[str, Any]:
        return self._await_adoption(text, self._change(transition))

    def _change(self, transition: Callable[[Overrides], Overrides]) -> int:
        """Change the overrides for all workers; their new version. Only `transition` knows what is in force then: what
        it depends on is checked there, since another worker may carry out a command at the same time."""
        version = self._book.change(transition, self._keep).version
        for slot in self._board.accepting():
            try:
                os.kill(slot.gauge(Gauge.PID), signal.SIGHUP)
            except OSError:
                pass  # it has just died; its successor starts with these overrides
        return version

    def _keep(self, overrides: Overrides) -> None:
        """Keep what was deployed for the next start, if there is a place for it."""
        directory = self._settings().state_dir
        if directory is None:
            return
        file = OverrideFile(directory)
        try:
            file.write(overrides)
        except OSError as problem:
            raise Refused(
                409, f"nothing changed: {file.path} cannot be written: {problem.strerror}; make {directory} writable"
            ) from None

    def _await_adoption(self, text: str, version: int) -> dict[str, Any]:
        """Wait until every worker that accepts connections has applied this version; list those that have not."""
        deadline = monotonic() + ADOPTION
        while True:
            slots = self._board.accepting()
            behind = [slot.gauge(Gauge.PID) for slot in slots if slot.gauge(Gauge.OVERRIDES) < version]
            if not behind or monotonic() > deadline:
                return {"done": text, "version": version, "workers": len(slots), "behind": behind}
            gevent.sleep(_PAUSE)
