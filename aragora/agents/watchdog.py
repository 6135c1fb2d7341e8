"""Breaks off what lasts too long: a timeout of a socket begins anew with every byte, this one does not."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Until:
    """A moment in unix seconds, and what to say when it has come."""

    moment: float
    reason: str


class Watchdog:
    """Calls `break_off` once when the moment has come; `hold` moves it. `clock` is in unix seconds."""

    def __init__(self, until: Until, break_off: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self._until = until
        self._break_off = break_off
        self._clock = clock
        self._moved = threading.Event()
        self._over = False
        self.barked: Until | None = None
        self._thread = threading.Thread(target=self._watch, name="aragora-watchdog", daemon=True)
        self._thread.start()

    def hold(self, until: Until) -> None:
        """Wait until another moment."""
        sooner = until.moment < self._until.moment
        self._until = until
        if sooner:
            self._moved.set()

    def cancel(self) -> None:
        """Watch no more."""
        self._over = True
        self._moved.set()

    def _watch(self) -> None:
        while not self._over:
            until = self._until
            left = until.moment - self._clock()
            if left <= 0:
                self.barked = until
                self._break_off()
                return
            self._moved.wait(left)
            self._moved.clear()
