"""One request at a time for what is not stored, while others for the same wait, in this process and in all others.

The one that asks holds a lock on one byte of a file, at an offset that the key makes. The kernel releases it when the
process ends, however it ends. Requests of one process are woken; other processes look again after a moment.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

import gevent
from gevent.event import Event

_MOST_WAITING: Final = 1000
"""Requests that wait in one worker; more ask the application themselves."""
_PAUSE: Final = 0.025
"""Seconds between two looks at what another process has stored meanwhile."""


class Flight:
    """The right to ask for one key; released once."""

    def __init__(self, flights: "Flights", key: bytes) -> None:
        self._flights = flights
        self._key = key
        self._held = True

    def release(self) -> None:
        """Others may go on: it is stored, or will not be."""
        if self._held:
            self._held = False
            self._flights.land(self._key)


class Flights:
    """Those of one cache's directory, as one worker sees them."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._file = -1
        self._own: dict[bytes, Event] = {}
        self._waiting = 0

    def take(self, key: bytes) -> Flight | None:
        """The right to ask; None while another request has it."""
        if key in self._own or not self._lock(key):
            return None
        self._own[key] = Event()
        return Flight(self, key)

    def wait(self, key: bytes, seconds: float) -> bool:
        """Wait until it is worth looking again; False if the request is to ask for itself."""
        if seconds <= 0 or self._waiting >= _MOST_WAITING:
            return False
        self._waiting += 1
        try:
            landed = self._own.get(key)
            if landed is None:
                gevent.sleep(min(_PAUSE, seconds))
                return True
            return bool(landed.wait(seconds))
        finally:
            self._waiting -= 1

    def land(self, key: bytes) -> None:
        """Its request has ended: wake those that wait."""
        landed = self._own.pop(key, None)
        if landed is not None:
            landed.set()
        if self._file >= 0:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _offset(key))

    def _lock(self, key: bytes) -> bool:
        """Whether no other process has it. Where the file cannot be made, each process is for itself."""
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(key))
        except OSError:
            return False
        return True


def _offset(key: bytes) -> int:
    return int.from_bytes(key[:6], "big")
