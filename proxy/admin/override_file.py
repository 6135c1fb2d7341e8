"""What was deployed, kept in the state directory: services and switches, for the next start.

    STATE_DIR/deployed.json            replaced by the worker that carries out a command, before it takes effect
    STATE_DIR/deployed.unusable.json   what a start could not use, for people to look at

The file belongs to the workers' account: what the master reads there is checked like a command of a stranger.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from proxy.admin.overrides import CAPACITY, MOST, Overrides, Switch
from proxy.admin.services import Service
from proxy.net.private_file import write_private
from proxy.settings.values import kinds
from proxy.settings.values.files import read_file

_LARGEST = 1 << 20  # bytes

Part = TypeVar("Part")


class OverrideFile:
    """The file in one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "deployed.json"
        self._unusable = state_dir / "deployed.unusable.json"

    def write(self, overrides: Overrides) -> None:
        """Keep what was deployed. Raises `OSError`."""
        document = {
            "services": [service.document() for service in overrides.services],
            "switches": [[switch.route, switch.replaced, switch.by] for switch in overrides.switches],
        }
        write_private(self.path, json.dumps(document, indent=1).encode() + b"\n")

    def read(self) -> tuple[Overrides, list[str]]:
        """What is kept, without the parts that cannot be used, and a line for each of those. Raises nothing."""
        try:
            content = read_file(self.path, _LARGEST)
        except ValueError as problem:
            return Overrides(), [f"{self.path}: {problem}"] if os.path.lexists(self.path) else []
        found, faults = _usable(content)
        if len(found.encoded()) > CAPACITY:
            found, faults = Overrides(), [f"more than {CAPACITY} bytes of services and switches"]
        if faults:
            try:
                write_private(self._unusable, content)
                faults.append(f"the file as it was is {self._unusable.name}")
            except OSError as problem:
                faults.append(f"no copy could be made: {problem.strerror}")
        return found, [f"{self.path}: {fault}" for fault in faults]


def _usable(content: bytes) -> tuple[Overrides, list[str]]:
    try:
        document = json.loads(content)
        services, switches = document["services"], document["switches"]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        return Overrides(), [f"not what this gateway has written: {type(problem).__name__}"]
    faults: list[str] = []
    good = {service.name: service for service in _parts("service", services, Service.read, faults)}
    switched = {switch.route: switch for switch in _parts("switch", switches, _switch, faults)}
    return Overrides(services=tuple(good[name] for name in sorted(good)), switches=tuple(switched.values())), faults


def _parts(kind: str, raw: Any, read: Callable[[Any], Part], faults: list[str]) -> list[Part]:
    """The usable ones of a list."""
    found = []
    for number, one in enumerate(raw[:MOST] if isinstance(raw, list) else ()):
        try:
            found.append(read(one))
        except (ValueError, TypeError, AttributeError, RecursionError) as problem:
            faults.append(f"{kind} {number + 1} is left out: {str(problem)[:200]}")
    return found


def _switch(raw: Any) -> Switch:
    route, replaced, by = raw
    return Switch(str(route), _addresses(replaced), _addresses(by))


def _addresses(raw: Any) -> tuple[str, ...]:
    return tuple(map(str, kinds.PEERS.read(raw)))
