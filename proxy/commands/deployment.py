"""Deploy a service: nothing changes unless the new target is ready, and no request is lost when it is.

The gateway itself does the switch at once, so a command that is killed leaves the old target or the new one serving,
never something between; the same command, given again, goes on from there.
"""

import time
from collections.abc import Callable, Mapping
from enum import Enum
from time import monotonic
from typing import Any

from proxy.commands.client import PARTLY, SUCCESS, Admin, Unanswered
from proxy.commands.readiness import PAUSE, Readiness
from proxy.commands.switch import busy_connections
from proxy.settings.values import Peer

_HEALTHY = range(200, 400)
_RESPONDS = range(200, 500)
"""Without a path to probe, any response says that the application runs, but for one that says it has failed."""


class Step(Enum):
    """How far a deployment has come."""

    PROBE = "the new target is probed; the old one serves"
    SWITCH = "the gateway changes its route"
    DRAIN = "the new target serves; requests of the old one end"
    DONE = "the old target has no connections left"
    BUSY = "the old target still has connections"
    BEHIND = "not all workers of the gateway have followed"


FOLLOWS: Mapping[Step, frozenset[Step]] = {
    Step.PROBE: frozenset({Step.SWITCH}),
    Step.SWITCH: frozenset({Step.DRAIN, Step.BEHIND}),
    Step.DRAIN: frozenset({Step.DONE, Step.BUSY}),
    Step.DONE: frozenset(),
    Step.BUSY: frozenset(),
    Step.BEHIND: frozenset(),
}


class Deployment:
    """One run of the command `deploy` or `rollout`. `wanted` is the body of the gateway's; times are seconds."""

    def __init__(
        self,
        admin: Admin,
        command: str,
        wanted: dict[str, Any],
        timeout: float,
        drain_timeout: float,
        say: Callable[[str], None],
    ) -> None:
        self.step = Step.PROBE
        self.done: dict[str, Any] = {}
        """The gateway's response, and what is still `busy`."""
        self._admin = admin
        self._command = command
        self._wanted = wanted
        self._timeout = timeout
        self._drain_timeout = drain_timeout
        self._say = say
        self._deadline = monotonic() + timeout
        self._before: set[str] = set()
        self._actions = {Step.PROBE: self._probe, Step.SWITCH: self._switch, Step.DRAIN: self._drain}

    def run(self) -> int:
        """Go through all steps. Returns the exit code. Raises CommandError when nothing changed."""
        while FOLLOWS[self.step]:
            following = self._actions[self.step]()
            assert following in FOLLOWS[self.step]
            self.step = following
        return SUCCESS if self.step is Step.DONE else PARTLY

    def _probe(self) -> Step:
        service = self._admin.command(self._command, **self._wanted, check=True)["service"]
        self._before = peers_of(self._admin.status())
        readiness = readiness_of(self._admin, service)
        new = service if self._command == "deploy" else service["rollout"] or {"target": []}
        for peer in map(Peer.parse, new["target"]):
            readiness.wait(peer, self._deadline, self._timeout)
            self._say(f"{peer.address} is ready")
        return Step.SWITCH

    def _switch(self) -> Step:
        while True:
            try:
                self.done = self._admin.command(self._command, **self._wanted)
                break
            except Unanswered:  # the same once more does no harm, whether or not it was carried out
                if monotonic() + PAUSE > self._deadline:
                    raise
                time.sleep(PAUSE)
        self._say(self.done["done"])
        if not self.done["kept"]:
            self._say("a stop of the gateway forgets it, for want of a state directory: set state_dir")
        if self.done["behind"]:
            self._say(f"workers {', '.join(map(str, self.done['behind']))} have not applied it yet")
            return Step.BEHIND
        return Step.DRAIN

    def _drain(self) -> Step:
        busy = drained(self._admin, self._before, self._drain_timeout)
        for name, count in busy.items():
            self._say(f"{name} still has {count} connections after {self._drain_timeout:g} s")
        self.done["busy"] = busy
        return Step.BUSY if busy else Step.DONE


def readiness_of(admin: Admin, service: Mapping[str, Any]) -> Readiness:
    """What a service's target has to respond with before it serves."""
    host = next((name for name in service["host"] if not name.startswith("*")), "")
    if service["health_path"]:
        return Readiness(admin, service["health_path"], _HEALTHY, {}, host)
    return Readiness(admin, service["path"], _RESPONDS, {}, host)


def drained(admin: Admin, before: set[str], seconds: float) -> dict[str, int]:
    """Wait until those of these peers that no route has any more are idle. Returns the busy ones when time is over."""
    deadline = monotonic() + seconds
    while True:
        over = monotonic() + PAUSE > deadline
        try:
            status = admin.status()
            busy = busy_connections(status, sorted(before - peers_of(status)))
            if over or not busy:
                return busy
        except Unanswered:
            if over:
                raise
        time.sleep(PAUSE)


def peers_of(status: Mapping[str, Any]) -> set[str]:
    """The peers that routes have."""
    return {peer["peer"] for route in status["routes"] for peer in route["peers"]}
