"""What was ordered at run time: peers drained, routes in maintenance, upstreams switched, reloads asked for.

Orders lie beside the settings and over them: a worker builds its routes from both. They are one immutable record in
memory that the master makes before it forks, so they are the same for all workers, outlive each of them and every
reload, and go with a binary upgrade. A stop forgets them: what is to stay belongs into the file.

    worker that got the command ──change──► record ──SIGHUP──► each worker builds its routes, then shows the
                                                               record's version as its Gauge.ORDERS

A reload is an order too, since only the master may read the settings: it sees that more were asked for than done, and
notes what came of it.
"""

import fcntl
import json
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from time import monotonic, sleep
from zlib import crc32

EVERY = "*"
"""In the place of a route's name: all routes."""

ENVIRONMENT = "ARAGORA_PROXY_ORDERS"
"""Carries the orders to the master of a binary upgrade. Not a setting."""

MOST = 1000  # drained peers, and switched routes
MOST_MISTAKES = 100
_LONGEST_MISTAKE = 500  # characters
_PATIENCE = 0.2  # seconds to wait for another process' change, which takes microseconds
_PAUSE = 0.002
_TRIES = 3  # readings of a record that is being written
_HALF = 120 << 10  # bytes: what one variable of the environment carries to a successor, 128 KiB with its name
_HEAD = 24
_TURNS = 1 << 60  # after so many changes their count begins anew


class OverridesBusy(Exception):  # noqa: N818 - names what happened
    """Another process is changing the orders at this moment."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A route's upstreams replaced. It holds as long as the settings name those it replaced: an edit ends it."""

    route: str
    replaced: tuple[str, ...]
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overrides:
    """All orders in force."""

    version: int = 0
    drained: frozenset[tuple[str, str]] = frozenset()
    """Route (or EVERY) and peer."""
    maintained: frozenset[str] = frozenset()
    """Routes in maintenance, or EVERY."""
    switches: tuple[Switch, ...] = ()
    reloads_asked: int = 0
    reloads_done: int = 0
    mistakes: tuple[str, ...] = ()
    """Why the last reload was refused; empty if it was not."""

    # What a worker asks.

    def is_drained(self, route: str, peer: str) -> bool:
        return bool(self.drained) and ((route, peer) in self.drained or (EVERY, peer) in self.drained)

    def in_maintenance(self, route: str) -> bool:
        return EVERY in self.maintained or route in self.maintained

    def upstreams(self, route: str, configured: tuple[str, ...]) -> tuple[str, ...]:
        """The peers a route has, when its settings name the `configured` ones."""
        for switch in self.switches:
            if switch.route == route and switch.replaced == configured:
                return switch.by
        return configured

    # What a command does: what workers have to act on gets the next version.

    def drain(self, peer: str, route: str = EVERY) -> "Overrides":
        """Send nothing new to a peer. Raises ValueError when there are too many such orders."""
        if len(self.drained) >= MOST:
            raise ValueError(f"over {MOST} peers are drained; undrain those that are gone")
        return self._next(replace(self, drained=self.drained | {(route, peer)}))

    def undrain(self, peer: str, route: str = EVERY, others: Iterable[str] = ()) -> "Overrides":
        """Use a peer again; for EVERY route, orders that named a single one end too.

        For a single one, an order for EVERY route becomes one for each of the `others` that have the peer. Raises
        ValueError when there are too many such orders.
        """
        drained = frozenset((where, who) for where, who in self.drained if who != peer or route not in (EVERY, where))
        if (EVERY, peer) in drained and route != EVERY:
            drained = drained - {(EVERY, peer)} | {(other, peer) for other in others}
        if len(drained) > MOST:
            raise ValueError(f"over {MOST} peers are drained; undrain those that are gone")
        return self._next(replace(self, drained=drained))

    def maintain(self, *, on: bool, route: str = EVERY) -> "Overrides":
        """Put a route into maintenance or take it out; EVERY route ends orders that named a single one."""
        if route == EVERY:
            maintained = frozenset({EVERY} if on else ())
        else:
            maintained = self.maintained | {route} if on else self.maintained - {route}
        return self._next(replace(self, maintained=maintained))

    def switch(self, route: str, configured: tuple[str, ...], by: tuple[str, ...]) -> "Overrides":
        """Replace a route's upstreams; the configured ones themselves end the order. They are drained no longer.

        Raises ValueError when there are too many such orders.
        """
        others = tuple(switch for switch in self.switches if switch.route != route)
        if len(others) >= MOST:
            raise ValueError(f"over {MOST} routes are switched; write what is to stay into the file")
        peers = {text.partition(" ")[0] for text in by}
        return self._next(
            replace(
                self,
                drained=frozenset((where, who) for where, who in self.drained if where != route or who not in peers),
                switches=others if by == configured else (*others, Switch(route, configured, by)),
            )
        )

    def ask_reload(self) -> "Overrides":
        return replace(self, reloads_asked=self.reloads_asked + 1)

    def reloaded(self, mistakes: Iterable[str] = ()) -> "Overrides":
        """The master has read the settings again, or refused them for the mistakes it found."""
        kept = tuple(mistake[:_LONGEST_MISTAKE] for mistake in tuple(mistakes)[:MOST_MISTAKES])
        done = replace(self, reloads_done=self.reloads_asked, mistakes=kept)
        return done if done.mistakes else replace(done, version=self.version + 1)

    def _next(self, after: "Overrides") -> "Overrides":
        return replace(after, version=self.version + 1) if after != self else self

    # Stored form.

    def lasting(self) -> "Overrides":
        """What a successor goes on with: without what became of reloads."""
        return replace(self, reloads_asked=0, reloads_done=0, mistakes=())

    def encoded(self) -> str:
        return json.dumps(
            {
                "version": self.version,
                "drained": sorted(self.drained),
                "maintained": sorted(self.maintained),
                "switches": [[switch.route, switch.replaced, switch.by] for switch in self.switches],
                "reloads_asked": self.reloads_asked,
                "reloads_done": self.reloads_done,
                "mistakes": self.mistakes,
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
                _count(raw["reloads_asked"]),
                _count(raw["reloads_done"]),
                tuple(map(str, raw["mistakes"])),
            )
        except (KeyError, TypeError, OverflowError, RecursionError) as problem:
            raise ValueError(f"not a record of orders: {problem}") from None


def _count(raw: object) -> int:
    if not isinstance(raw, int) or not 0 <= raw < _TURNS:
        raise ValueError(f"not a count: {str(raw)[:20]}")
    return int(raw)


class OverrideRecord:
    """The record in shared memory. Any process of the gateway reads it; changes exclude each other.

    Two halves are written in turn and a counter says which holds the newest record. A master with more rights reads
    what its workers wrote: JSON of a bounded size, checked; what is none leaves the record before in force. The lock is
    the kernel's record lock on a file without a name: it ends with the process that holds it, however that ends.
    """

    def __init__(self, carried: str = "") -> None:
        """`carried`: the orders of the master before, as `Overrides.encoded` wrote them; anything else is ignored."""
        self._memory = mmap.mmap(-1, _HEAD + 2 * _HALF)
        self._turn = memoryview(self._memory)[:8].cast("q")
        with tempfile.TemporaryFile() as file:
            self._lock = os.dup(file.fileno())  # open as long as the process lives
        self._known = 0, Overrides()
        if carried:
            try:
                self._put(Overrides.decoded(carried).lasting())
            except ValueError:
                pass  # of a version that wrote them in another way

    def get(self) -> Overrides:
        """The orders in force."""
        for _ in range(_TRIES):
            turn = self._turn[0]
            if turn == self._known[0]:
                break
            overrides = self._read(_HEAD + turn % 2 * _HALF)
            if overrides is not None:
                self._known = turn, overrides
        return self._known[1]

    def change(self, transition: Callable[[Overrides], Overrides]) -> Overrides:
        """Replace the record by what `transition` makes of it.

        Raises OrdersBusy, ValueError when the record would be too large, and what `transition` raises.
        """
        self._take()
        try:
            before = self.get()
            after = transition(before)
            if after != before:
                self._put(after)
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
                    raise OverridesBusy("another process is changing the orders; try again") from None
                sleep(_PAUSE)
            else:
                return

    def _put(self, overrides: Overrides) -> None:
        content = overrides.encoded().encode()
        if len(content) > _HALF - _HEAD:
            raise ValueError(f"the orders take {len(content)} bytes; at most {_HALF - _HEAD} can be kept")
        turn = (self._turn[0] + 1) % _TURNS
        start = _HEAD + turn % 2 * _HALF
        frame = len(content).to_bytes(8, "little") + crc32(content).to_bytes(8, "little") + content
        self._memory[start : start + len(frame)] = frame
        self._turn[0] = turn

    def _read(self, start: int) -> Overrides | None:
        size = int.from_bytes(self._memory[start : start + 8], "little")
        checksum = int.from_bytes(self._memory[start + 8 : start + 16], "little")
        content = self._memory[start + 16 : start + 16 + min(size, _HALF)]
        if crc32(content) != checksum:
            return None  # overtaken: it was written twice since the turn was read
        try:
            return Overrides.decoded(content.decode())
        except ValueError:
            return None
