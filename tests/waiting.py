"""Waiting for what no event announces: another process's state, a log line, a counter."""

import select
import time
from collections.abc import Callable
from typing import Any, TypeVar

Found = TypeVar("Found")
PATIENCE = 60.0
"""Seconds until a test that waits for something gives up."""


def until(
    found: Callable[[], Found],
    what: str | Callable[[], str] = "what was awaited",
    seconds: float = PATIENCE,
    pause: Callable[[float], object] = time.sleep,
) -> Found:
    """Ask until `found()` is true; its value, or a failure naming what was awaited. `pause` lets others go on.

    A function says at the moment of the failure what was awaited.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what() if callable(what) else what}"
        pause(0.01)


def readable(file: Any, seconds: float) -> bool:
    """Whether data, an end or a connection comes to a socket or pipe in that time.

    Whatever its descriptor's number: `select.select` takes none beyond 1023, and a run in one process has more.
    """
    return _polled(file, select.POLLIN, seconds)


def writable(file: Any, seconds: float) -> bool:
    """Whether a socket or pipe takes data in that time."""
    return _polled(file, select.POLLOUT, seconds)


def _polled(file: Any, events: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(file, events)
    return bool(poll.poll(seconds * 1000))
