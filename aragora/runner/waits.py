"""What a question waits for, on its way into the log: not each second of it."""

import time
from collections.abc import Callable

from aragora.agents.agent import Waiting

GRACE = 1.0  # seconds; shorter waits are not shown
AGAIN = 15.0  # seconds between two notices of one question


class Waits:
    """Receives what one question waits for and passes it on when it has waited for a while, and when that changed."""

    def __init__(self, tell: Callable[[Waiting], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._told: Waiting | None = None
        self._due: float | None = None

    def __call__(self, waiting: Waiting) -> None:
        """Called as often as the wait is looked at."""
        now = self._clock()
        if self._due is None:
            self._due = now + GRACE
        if now >= self._due and waiting != self._told:
            self._told = waiting
            self._due = now + AGAIN
            self._tell(waiting)
