"""One number for each worker process of the machine, used again after its death.

Metrics of several processes meet in files, one set per process. Named by pid, they would pile up with every recycled
worker; named by slot, the next worker goes on counting in the files of the one it replaces, so that there are never
more sets than there were processes at once and no counter ever falls. A slot is a lock on a file: the kernel frees it
however the process ends.
"""

import fcntl
import os
from pathlib import Path

MAX_SLOTS = 1024


class Slots:
    """The slots in one directory, shared by every process that serves the same data."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._pid = 0
        self._number = 0
        self._lock: int | None = None

    def number(self) -> int:
        """This process' slot; a forked child takes its own at its first call. Raises OSError when none is free."""
        if self._pid != os.getpid():
            self._number = self._take()
            self._pid = os.getpid()
        return self._number

    def files(self) -> list[str]:
        """The metric files that count: all of living processes, of dead ones those that only ever grow."""
        found = []
        for path in self.directory.glob("*.db"):
            number = path.stem.rpartition("_")[2]
            if not path.name.startswith("gauge_") or (number.isdecimal() and self._is_taken(int(number))):
                found.append(str(path))
        return found

    def release(self) -> None:
        """Give the slot back; its files stay for the next process."""
        if self._lock is not None and self._pid == os.getpid():
            os.close(self._lock)
        self._lock = None
        self._pid = 0

    def _take(self) -> int:
        if self._lock is not None:
            # Inherited over a fork: closing our copy leaves the parent's lock alone.
            os.close(self._lock)
            self._lock = None
        door = os.open(self.directory / "door.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Held for the moment of choosing only, so that two processes cannot both clear the directory.
            fcntl.flock(door, fcntl.LOCK_EX)
            if not self._same_service() and not any(map(self._is_taken, self._known())):
                for path in self.directory.glob("*.db"):
                    path.unlink(missing_ok=True)
            for number in range(MAX_SLOTS):
                lock = self._try_lock(number)
                if lock is not None:
                    self._lock = lock
                    for path in self.directory.glob(f"gauge_*_{number}.db"):
                        path.unlink(missing_ok=True)
                    return number
            raise OSError(f"all {MAX_SLOTS} metric slots in {self.directory} are taken")
        finally:
            os.close(door)

    def _same_service(self) -> bool:
        """Whether the last process here had the same master; if not, the numbers are of an earlier run."""
        marker = self.directory / "master"
        mine = str(os.getppid())
        same = marker.exists() and marker.read_text() == mine
        marker.write_text(mine)
        return same

    def _known(self) -> list[int]:
        return [int(path.stem) for path in self.directory.glob("*.slot") if path.stem.isdecimal()]

    def _try_lock(self, number: int) -> int | None:
        descriptor = os.open(self.directory / f"{number}.slot", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _is_taken(self, number: int) -> bool:
        lock = self._try_lock(number)
        if lock is None:
            return True
        os.close(lock)
        return False
