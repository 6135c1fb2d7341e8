"""The gateway's services kept as the containers want them, until the process ends.

The daemon's events only say when to look again; what is done follows from comparing all containers with all services.
"""

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any

from proxy.admin.services import Service
from proxy.commands.client import Admin, CommandError
from proxy.commands.containers.daemon import Daemon, DaemonAway
from proxy.commands.containers.labels import Instance
from proxy.commands.containers.plan import Plan, plan

LINGER = 5.0
"""Seconds that a service without a container is kept: a container that is replaced is away for a moment, in which the
gateway lets requests wait."""
_BRISK, _CALM = 0.5, 5.0  # seconds between two looks: at least, and at most
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds between attempts to reach the daemon
_PROBES = 8  # at the same time
_LONGEST_FAULT = 300  # characters
_MOST_REPORTED = 12 << 10  # bytes of all faults: a command takes 16 KiB


class Watch:
    """Follows one daemon for one gateway. `say` writes a line of the log."""

    def __init__(self, daemon: Daemon, find: Callable[[], Admin], say: Callable[[str], None]) -> None:
        self._daemon = daemon
        self._find = find
        self._say = say
        self._pool = ThreadPoolExecutor(_PROBES)
        self._probes: dict[str, Future[str]] = {}
        self._faults: dict[str, str] = {}
        """What was wrong at the last probe, by id of the containers that are not ready."""
        self._ready: dict[str, str] = {}
        """Addresses by id of the containers that have responded well."""
        self._empty: dict[str, float] = {}
        """Since when services have no container (monotonic seconds)."""
        self._said: frozenset[str] = frozenset()
        self._connected, self._since, self._fault = False, time.time(), "not reached yet"
        self._count = 0

    def run(self) -> None:
        """Follow until the process ends."""
        wait = _FIRST_WAIT
        while True:
            try:
                self._daemon.connect()
                self._became(connected=True, fault="")
                while True:
                    begun = monotonic()
                    self._daemon.changed.clear()
                    pending = self._look()
                    wait = _FIRST_WAIT
                    self._daemon.changed.wait(_BRISK if pending else _CALM)
                    time.sleep(max(0.0, _BRISK - (monotonic() - begun)))  # however many events there are
            except DaemonAway as problem:
                self._became(connected=False, fault=str(problem))
                self._tell([])
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    def _became(self, *, connected: bool, fault: str) -> None:
        if (connected, fault) == (self._connected, self._fault):
            return
        self._connected, self._since, self._fault = connected, time.time(), fault
        self._say(
            f"following the containers of {self._daemon.url}"
            if connected
            else f"{self._daemon.url} does not respond: {fault}; services stay as they are, and it is tried again"
        )

    def _look(self) -> bool:
        """Compare and act once. Whether the next look should be soon. Raises DaemonAway."""
        instances, faults = self._daemon.containers()
        self._count, gateway = len(instances), True
        try:
            admin = self._find()
            found = [Service.read(raw) for raw in admin.status().get("services", ())]
            serving = {service.name: service for service in found}
            waiting = self._probe(admin, instances, serving)
            made = plan(instances, self._ready.keys(), serving)
            self._linger(made)
            self._act(admin, made, faults)
            every = [*faults, *made.faults, *waiting]
        except (CommandError, ValueError) as problem:
            every, gateway = [*faults, str(problem)], False
        self._log(every)
        self._tell(every)
        return bool(self._probes) or not gateway

    def _probe(self, admin: Admin, instances: Iterable[Instance], serving: dict[str, Service]) -> list[str]:
        """Begin to probe new containers and see what came of the others. A line for each that is not ready."""
        running = {one.id: one for one in instances}
        self._ready = {key: address for key, address in self._ready.items() if key in running}
        self._faults = {key: fault for key, fault in self._faults.items() if key in running}
        self._probes = {key: probe for key, probe in self._probes.items() if key in running}
        for key, instance in running.items():
            known = serving.get(instance.service.name)
            if key not in self._ready and known and known.labelled and instance.address in known.target:
                self._ready[key] = instance.address  # it was probed before this process began
            if key in self._ready or instance.stopping:
                continue
            before = self._probes.get(key)
            if before is None or before.done():
                fault = before.result() if before is not None else ""
                if before is not None and not fault:
                    self._ready[key] = instance.address
                    del self._probes[key]
                    self._faults.pop(key, None)
                    continue
                if fault:
                    self._faults[key] = f"container {instance.container}: not ready: {instance.address}: {fault}"
                self._probes[key] = self._pool.submit(_fault, admin, instance)
        return list(self._faults.values())

    def _linger(self, made: Plan) -> None:
        """Remove only what has had no container for a while."""
        now = monotonic()
        self._empty = {name: self._empty.get(name, now) for name in made.remove}
        made.remove = [name for name in made.remove if now - self._empty[name] >= LINGER]

    def _act(self, admin: Admin, made: Plan, faults: list[str]) -> None:
        """One that cannot be deployed does not keep the others from it."""
        for name in made.remove:
            self._say(f"{admin.command('remove', name=name)['done']}: no container is left")
        for service, containers in made.deploy:
            document = {key: value for key, value in service.document().items() if key != "rollout"}
            try:
                done = admin.command("deploy", **document)
            except CommandError as problem:
                faults.append(f"container {containers[-1].container}: {problem}")
                continue
            self._say(f"{done['done']} ({', '.join(one.container for one in containers)})")
            if done["left"]:
                self._say(f"{', '.join(done['left'])} gets no new requests, and can be stopped when it has none left")

    def _log(self, faults: list[str]) -> None:
        """Say what is new; what has gone is said by what follows."""
        for fault in faults:
            if fault not in self._said:
                self._say(fault)
        self._said = frozenset(faults)

    def _tell(self, faults: list[str]) -> None:
        """Report to the gateway, if it is there."""
        report: dict[str, Any] = {
            "daemon": self._daemon.url,
            "connected": self._connected,
            "since": round(self._since, 3),
            "fault": self._fault,
            "containers": self._count,
            "faults": _reported(faults),
        }
        try:
            self._find().command("containers", **report)
        except CommandError:
            pass  # `_look` has said so


def _reported(faults: Iterable[str]) -> list[str]:
    """As many of them as there is room for; the log has all."""
    kept, room = list[str](), _MOST_REPORTED
    for fault in faults:
        shortened = fault[:_LONGEST_FAULT]
        room -= len(json.dumps(shortened)) + 2
        if room < 0:
            break
        kept.append(shortened)
    return kept


def _fault(admin: Admin, instance: Instance) -> str:
    """Probe once, as the gateway would connect: what is wrong, or an empty text."""
    service = instance.service
    host = next((name for name in service.host if not name.startswith("*")), None)
    path, statuses = (service.health_path, "200-399") if service.health_path else (service.path, "200-499")
    try:
        more = {"path": path, "host": host, "statuses": statuses}
        return str(admin.command("probe", upstream=instance.address, **more)["fault"])
    except CommandError as problem:
        return str(problem)
