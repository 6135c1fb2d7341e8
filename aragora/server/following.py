"""The one loop behind every way to follow a debate: long poll, event stream and WebSocket, on threads and event loops.

    take what is new ──► hand it over ──► take ... ──► nothing new: over? heartbeat due? ──► wait for a change ──► take

`Following` decides, and never waits. What waits is a driver: `follow` for threads (greenlets) here, another for event
loops in `aragora.server.async_watchers`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Generic, Protocol, TypeVar

from aragora.storage import Subscription

HEARTBEAT_SECONDS = 15.0

Portion = TypeVar("Portion")
Taken = TypeVar("Taken", covariant=True)


class Source(Protocol[Taken]):
    """What a watcher follows. It keeps cursors, not queues: what is not taken stays where it is."""

    @property
    def ended(self) -> bool:
        """Whether nothing will follow what was taken."""

    def missing(self) -> list[tuple[Subscription, int]]:
        """Subscriptions and cursors whose next events are not in memory, but in the store."""

    def at_hand(self) -> bool:
        """Whether `take` needs neither the store nor anything else that may block."""

    def take(self) -> Taken:
        """The next portion; false in a condition when there is none at the moment."""


class Signal(Enum):
    """What a watcher receives between portions."""

    BEAT = "give a sign of life"
    OVER = "nothing follows"


class Following(Generic[Portion]):
    """One watcher's way through a source, until that has ended or `draining` says so; a beat every `every` seconds."""

    def __init__(self, source: Source[Portion], every: float, draining: Callable[[], bool]) -> None:
        self.source = source
        self._every = every
        self._draining = draining
        self._due = time.monotonic() + every

    def step(self) -> Portion | float | Signal:
        """A portion to hand over, the seconds to wait for a change, or a signal; raises whatever `take` raises."""
        portion = self.source.take()
        if portion:
            return portion
        if self.source.ended or self._draining():
            return Signal.OVER
        now = time.monotonic()
        if now < self._due:
            return self._due - now
        self._due = now + self._every
        return Signal.BEAT


def follow(following: Following[Portion], changed: threading.Event) -> Iterator[Portion | Signal]:
    """Each portion as it comes, and beats; `changed` is set when something may be new."""
    while True:
        changed.clear()
        step = following.step()
        if isinstance(step, float):
            changed.wait(step)
        elif step is Signal.OVER:
            return
        else:
            yield step
