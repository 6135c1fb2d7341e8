"""The process' event loop, what it watches, and deadlines.

Deadlines are plain numbers (monotonic seconds). A sweeper compares them once a second, so a wait may last up to a
second longer than asked, and neither setting nor clearing one costs anything.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from time import monotonic
from typing import Any, Final, Protocol

import gevent
from gevent import get_hub
from greenlet import getcurrent, greenlet

from proxy.errors import DeadlinePassed

READ: Final = 1
WRITE: Final = 2
NEVER: Final = float("inf")


class Watcher(Protocol):
    """Calls back each time a descriptor is ready, until it is stopped (gevent's `io` watcher)."""

    callback: Callable[..., object] | None
    events: int

    @property
    def active(self) -> bool: ...

    def start(self, callback: Callable[..., object]) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Timer(Protocol):
    """Calls back after its time, and again each time its period has passed (gevent's `timer`)."""

    def start(self, callback: Callable[..., object]) -> None: ...

    def again(self, callback: Callable[..., object]) -> None:
        """As `start`, with the full time whatever was left of it."""

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Loop(Protocol):
    """gevent's loop, as far as the gateway uses it."""

    def io(self, descriptor: int, events: int) -> Watcher: ...

    def timer(self, after: float, repeat: float = 0.0) -> Timer: ...

    def signal(self, number: int) -> Any: ...

    def run_callback(self, callback: Callable[..., object], *arguments: object) -> object:
        """Call back in the loop's next round."""


class Hub:
    """This process' event loop, looked up once: `switch` leaves the current greenlet until something wakes it."""

    def __init__(self) -> None:
        hub = get_hub()
        self.loop: Loop = hub.loop
        self.switch: Callable[[], Any] = hub.switch
        self.greenlet: greenlet = hub


def give_way() -> None:
    """Let the loop see to its I/O before the calling greenlet goes on: between two stretches of long computing.

    `gevent.sleep(0)` would not: the loop runs callbacks, new ones too, before it polls again. A hundred stretches of
    half a millisecond went by with one look at I/O.
    """
    gevent.sleep(1e-6)


class Expiring(Protocol):
    """Has a deadline (monotonic seconds), and knows what its passing means."""

    deadline: float

    def expire(self) -> None: ...


class Deadlines:
    """Everything that may have a deadline; `sweep` expires what is overdue."""

    def __init__(self) -> None:
        self.streams: set[Expiring] = set()
        self._groups: list[AbstractSet[Expiring]] = [self.streams]

    def include(self, group: AbstractSet[Expiring]) -> None:
        """Sweep the members of this set too: they need not be in another, which would cost each some 40 bytes."""
        self._groups.append(group)

    def sweep(self) -> None:
        now = monotonic()
        for group in self._groups:
            for member in [member for member in group if member.deadline < now]:
                # One that expired earlier in this sweep may have ended this one too, or extended its deadline.
                if member.deadline < now and member in group:
                    member.deadline = NEVER
                    member.expire()

    def pause(self, hub: Hub, deadline: float) -> None:
        """Leave the current greenlet until something switches to it. Raises `DeadlinePassed`.

        For a wait that concerns no socket of its own.
        """
        pause = _Pause(getcurrent(), deadline)
        self.streams.add(pause)
        try:
            hub.switch()
        finally:
            self.streams.discard(pause)


class _Pause:
    """A greenlet that waits for no longer than a deadline."""

    __slots__ = ("_waiter", "deadline")

    def __init__(self, waiter: greenlet, deadline: float) -> None:
        self._waiter = waiter
        self.deadline = deadline

    def expire(self) -> None:
        self._waiter.throw(DeadlinePassed)
