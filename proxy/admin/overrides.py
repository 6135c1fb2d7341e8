"""Runtime overrides: services, switched upstreams, drained peers, routes in maintenance, and requests to reload.

Overrides are laid over the settings: a worker builds its routes from both. They are one immutable record in memory that
the master makes before it forks, so they are the same for all workers, survive workers and reloads, and are passed on
in a binary upgrade. During one nothing can be changed, since each of the two masters has a record of its own. Services
and switches are also kept in the state directory (`override_file`); a stop discards the others: to make those
permanent, put them in the file.

    worker that got the command ──change──► record ──SIGHUP──► each worker builds its routes, then shows the
                                                               record's version as its Gauge.OVERRIDES

A reload is an override too, since only the master may read the settings: it sees that more were requested than done,
and records the result.
"""

import fcntl
import json
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic, sleep

from proxy.admin.services import Service
from proxy.observe.shared_record import SharedRecord

EVERY = "*"
"""Instead of a route's name: all routes."""

MOST = 1000  # drained peers, switched routes, and services
LONGEST_PAUSE = 600.0
"""Seconds that a request may wait for the end of a pause."""
MOST_MISTAKES = 100
_LONGEST_MISTAKE = 500  # characters
_PATIENCE = 0.2  # seconds to wait for a change by another process, which takes microseconds
_PAUSE = 0.002
_TRIES = 3  # readings of a record that is being written
CAPACITY = 120 << 10  # bytes: what one variable of the environment carries to a successor, 128 KiB with its name
_TURNS = 1 << 60  # after so many changes their count begins anew
_FLAG = 8  # bytes
_UPGRADING = (
    "nothing changed: the gateway is being upgraded, and a change now would reach only one of the two that serve; "
    "try again when the old master has ended"
)


class OverridesBusy(Exception):  # noqa: N818 - names what happened
    """Another process is changing the overrides at this moment, or they must not change during an upgrade."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Replacement of a route's upstreams. It applies while the settings name the replaced ones: an edit ends it."""

    route: str
    replaced: tuple[str, ...]
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overrides:
    """All overrides in force."""

    version: int = 0
    drained: frozenset[tuple[str, str]] = frozenset()
    """Route (or EVERY) and peer."""
    maintained: frozenset[str] = frozenset()
    """Routes in maintenance, or EVERY."""
    switches: tuple[Switch, ...] = ()
    reload_requests: int = 0
    reloads_done: int = 0
    mistakes: tuple[str, ...] = ()
    """Why the last reload was refused; empty if it was not."""
    services: tuple[Service, ...] = ()
    """In the order of their names."""
    paused: frozenset[tuple[str, float]] = frozenset()
    """Routes whose requests wait, and the longest time that one does, in seconds."""

    # Questions of a worker.

    def is_drained(self, route: str, peer: str) -> bool:
        return bool(self.drained) and ((route, peer) in self.drained or (EVERY, peer) in self.drained)

    def in_maintenance(self, route: str) -> bool:
        return EVERY in self.maintained or route in self.maintained

    def pause(self, route: str) -> float:
        """How long a request of this route may wait for the end of its pause, in seconds; 0 if it is not paused."""
        return next((seconds for name, seconds in self.paused if name == route), 0.0)

    def upstreams(self, route: str, configured: tuple[str, ...]) -> tuple[str, ...]:
        """The peers a route has, when its settings name the `configured` ones."""
        for switch in self.switches:
            if switch.route == route and switch.replaced == configured:
                return switch.by
        return configured

    def service(self, name: str) -> Service | None:
        """The service of that name."""
        return next((service for service in self.services if service.name == name), None)

    # Changes by commands. One that workers have to apply gets the next version.

    def drain(self, peer: str, route: str = EVERY) -> "Overrides":
        """Send nothing new to a peer. Raises ValueError when too many are drained."""
        if len(self.drained) >= MOST:
            raise ValueError(f"already {MOST} drained peers; undrain those that no longer exist")
        return self._next(replace(self, drained=self.drained | {(route, peer)}))

    def undrain(self, peer: str, route: str = EVERY, others: Iterable[str] = ()) -> "Overrides":
        """Use a peer again. For EVERY route, this also ends drains on single routes.

        For a single route, a drain on EVERY route becomes one on each of the `others` that have the peer. Raises
        ValueError when too many are drained.
        """
        drained = frozenset((on, name) for on, name in self.drained if name != peer or route not in (EVERY, on))
        if (EVERY, peer) in drained and route != EVERY:
            drained = drained - {(EVERY, peer)} | {(other, peer) for other in others}
        if len(drained) > MOST:
            raise ValueError(f"already {MOST} drained peers; undrain those that no longer exist")
        return self._next(replace(self, drained=drained))

    def maintain(self, *, on: bool, route: str = EVERY) -> "Overrides":
        """Put a route into maintenance or take it out; EVERY also ends maintenance of single routes."""
        if route == EVERY:
            maintained = frozenset({EVERY} if on else ())
        else:
            maintained = self.maintained | {route} if on else self.maintained - {route}
        return self._next(replace(self, maintained=maintained))

    def switch(self, route: str, configured: tuple[str, ...], by: tuple[str, ...]) -> "Overrides":
        """Replace a route's upstreams; the configured ones undo a switch. The new ones are no longer drained.

        Raises ValueError when too many routes are switched.
        """
        others = tuple(switch for switch in self.switches if switch.route != route)
        if len(others) >= MOST:
            raise ValueError(f"already {MOST} switched routes; put permanent changes into the file")
        peers = {text.partition(" ")[0] for text in by}
        return self._next(
            replace(
                self,
                drained=frozenset((on, name) for on, name in self.drained if on != route or name not in peers),
                switches=others if by == configured else (*others, Switch(route, configured, by)),
            )
        )

    def hold(self, route: str, seconds: float) -> "Overrides":
        """Pause a route: each of its requests waits for the end of the pause, for so long at most.

        Raises ValueError when too many are paused.
        """
        others = {(name, longest) for name, longest in self.paused if name != route}
        if len(others) >= MOST:
            raise ValueError(f"already {MOST} paused routes; resume those that no longer exist")
        return self._next(replace(self, paused=frozenset({*others, (route, seconds)})))

    def resume(self, route: str) -> "Overrides":
        return self._next(replace(self, paused=frozenset((name, most) for name, most in self.paused if name != route)))

    def deploy(self, service: Service) -> "Overrides":
        """Make or replace a service; it is switched no longer, nor are its targets drained.

        Raises ValueError when there are too many.
        """
        others = [other for other in self.services if other.name != service.name]
        if len(others) >= MOST:
            raise ValueError(f"already {MOST} services; remove those that are not needed")
        peers = {text.partition(" ")[0] for text in service.targets}
        return self._next(
            replace(
                self,
                drained=frozenset((on, name) for on, name in self.drained if on != service.name or name not in peers),
                switches=tuple(switch for switch in self.switches if switch.route != service.name),
                services=tuple(sorted((*others, service), key=lambda one: one.name)),
            )
        )

    def remove(self, name: str) -> "Overrides":
        """Forget a service and what was ordered of its route."""
        return self._next(
            replace(
                self,
                drained=frozenset((on, peer) for on, peer in self.drained if on != name),
                maintained=self.maintained - {name},
                switches=tuple(switch for switch in self.switches if switch.route != name),
                services=tuple(service for service in self.services if service.name != name),
                paused=frozenset((on, seconds) for on, seconds in self.paused if on != name),
            )
        )

    def request_reload(self) -> "Overrides":
        return replace(self, reload_requests=self.reload_requests + 1)

    def reloaded(self, mistakes: Iterable[str] = ()) -> "Overrides":
        """The master has read the settings again, or rejected them because of these mistakes."""
        shortened = tuple(mistake[:_LONGEST_MISTAKE] for mistake in tuple(mistakes)[:MOST_MISTAKES])
        done = replace(self, reloads_done=self.reload_requests, mistakes=shortened)
        return done if done.mistakes else replace(done, version=self.version + 1)

    def _next(self, after: "Overrides") -> "Overrides":
        return replace(after, version=self.version + 1) if after != self else self

    # Stored form.

    def lasting(self) -> "Overrides":
        """What a successor starts with: all but the results of reloads."""
        return replace(self, reload_requests=0, reloads_done=0, mistakes=())

    @property
    def orders(self) -> "Overrides":
        """What commands have changed, without the count of changes and the results of reloads."""
        return replace(self.lasting(), version=0)

    def kept(self) -> "Overrides":
        """What the next start begins with: what was deployed."""
        return Overrides(switches=self.switches, services=self.services)

    def encoded(self) -> str:
        return json.dumps(
            {
                "version": self.version,
                "drained": sorted(self.drained),
                "maintained": sorted(self.maintained),
                "switches": [[switch.route, switch.replaced, switch.by] for switch in self.switches],
                "reload_requests": self.reload_requests,
                "reloads_done": self.reloads_done,
                "mistakes": self.mistakes,
                "services": [service.document() for service in self.services],
                "paused": sorted(self.paused),
            },
            separators=(",", ":"),
        )

    @classmethod
    def decoded(cls, text: str) -> "Overrides":
        """The inverse of `encoded`. Raises ValueError for anything else."""
        try:
            raw = json.loads(text)
            return cls(
                _count(raw["version"]),
                frozenset((str(route), str(peer)) for route, peer in raw["drained"]),
                frozenset(map(str, raw["maintained"])),
                tuple(
                    Switch(str(route), tuple(map(str, replaced)), tuple(map(str, by)))
                    for route, replaced, by in raw["switches"]
                ),
                _count(raw["reload_requests"]),
                _count(raw["reloads_done"]),
                tuple(map(str, raw["mistakes"])),
                tuple(Service.read(one) for one in raw.get("services", ())),  # former versions wrote none
                frozenset((str(route), _wait(seconds)) for route, seconds in raw.get("paused", ())),
            )
        except (AttributeError, KeyError, TypeError, OverflowError, RecursionError) as problem:
            raise ValueError(f"not a record of overrides: {problem}") from None


def _wait(raw: object) -> float:
    if not isinstance(raw, int | float) or not 0 < raw <= LONGEST_PAUSE:
        raise ValueError(f"not a pause: {str(raw)[:20]}")
    return float(raw)


def _count(raw: object) -> int:
    if not isinstance(raw, int) or not 0 <= raw < _TURNS:
        raise ValueError(f"not a count: {str(raw)[:20]}")
    return int(raw)


class OverrideRecord:
    """The record in shared memory. Any process of the gateway reads it; changes exclude each other.

    A privileged master reads what its workers wrote: JSON of a bounded size, checked; anything else leaves the record
    before in force. The lock is the kernel's record lock on a file without a name: it ends with the process that holds
    it, however that ends.
    """

    def __init__(self, carried: str = "") -> None:
        """`carried`: overrides of the master before, as `Overrides.encoded` wrote them; anything else is ignored."""
        self._memory = mmap.mmap(-1, SharedRecord.size(CAPACITY) + _FLAG)
        view = memoryview(self._memory)
        self._record = SharedRecord(view[:-_FLAG], CAPACITY)
        self._frozen = view[-_FLAG:].cast("q")
        with tempfile.TemporaryFile() as file:
            self._lock = os.dup(file.fileno())  # open as long as the process lives
        self._known = 0, Overrides()
        if carried:
            try:
                self._put(_fitting(Overrides.decoded(carried).lasting()))
            except ValueError:
                pass  # written by a version with another format

    def get(self) -> Overrides:
        """The overrides in force."""
        for _ in range(_TRIES):
            turn = self._record.turn
            if turn == self._known[0]:
                break
            overrides = self._read(turn)
            if overrides is not None:
                self._known = turn, overrides
        return self._known[1]

    def freeze(self, *, frozen: bool) -> None:
        """Refuse changes from now on, or no longer; a change that has begun is finished first.

        Requests for reloads and their results are recorded all the same.
        """
        if bool(self._frozen[0]) != frozen:
            self._frozen[0] = frozen
            with suppress(OverridesBusy):
                self._take()
                fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def change(
        self, transition: Callable[[Overrides], Overrides], keep: Callable[[Overrides], None] | None = None
    ) -> Overrides:
        """Replace the record by what `transition` makes of it, once `keep` has stored what the next start needs.

        Raises OverridesBusy, ValueError when the record would be too large, and what `transition` and `keep` raise.
        """
        self._take()
        try:
            before = self.get()
            after = transition(before)
            if self._frozen[0] and after.orders != before.orders:
                raise OverridesBusy(_UPGRADING)
            if after != before:
                content = _fitting(after)
                if keep is not None and after.kept() != before.kept():
                    keep(after)
                self._put(content)
            return after
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def _take(self) -> None:
        deadline = monotonic() + _PATIENCE
        while True:
            try:
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if monotonic() > deadline:
                    raise OverridesBusy("another process is changing the overrides; try again") from None
                sleep(_PAUSE)
            else:
                return

    def _put(self, content: bytes) -> None:
        self._record.write(content, (self._record.turn + 1) % _TURNS)

    def _read(self, turn: int) -> Overrides | None:
        content = self._record.read(turn)
        try:
            return None if content is None else Overrides.decoded(content.decode())
        except ValueError:
            return None


def _fitting(overrides: Overrides) -> bytes:
    """The stored form. Raises ValueError when it has no room in the record."""
    content = overrides.encoded().encode()
    if len(content) > CAPACITY:
        raise ValueError(f"too many runtime overrides: {len(content)} bytes of at most {CAPACITY}; undo some")
    return content
