"""Turns of the processes that run the tests: one marked `alone` runs while no other test does."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(directory: Path, *, alone: bool) -> Iterator[None]:
    """Run a test beside others, or alone; `directory` is shared by all processes of the run.

    Whoever waits to be alone keeps the gate, so that nobody overtakes it; the others only pass through.
    """
    with (
        locked(directory / "gate", fcntl.LOCK_EX) as gate,
        locked(directory / "room", fcntl.LOCK_EX if alone else fcntl.LOCK_SH),
    ):
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@contextmanager
def locked(file: Path, kind: int) -> Iterator[int]:
    """The descriptor of a file that is locked until the block ends."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    finally:
        os.close(descriptor)
