"""The file that holds the master's process id."""

import os
import secrets
import stat
from pathlib import Path
from typing import Any

from proxy.settings import Settings, SettingsError
from proxy.settings.values.places import Place, place_of

_LONGEST = 32  # bytes


class MasterPidFile:
    """The file that the settings name, through upgrades and reloads; none if they name none."""

    def __init__(self) -> None:
        self._file: PidFile | None = None

    def write(self, settings: Settings, *, upgrading: bool) -> None:
        """At the start; with `upgrading`, next to that of the master still serving. Raises SettingsError."""
        path = settings.pidfile
        if path is None:
            return
        try:
            self._file = PidFile(path.with_name(f"{path.name}.2") if upgrading else path)
        except OSError as problem:
            raise SettingsError([f"--pidfile {path}: cannot be written: {problem.strerror}"]) from None

    def move(self, settings: Settings, log: Any) -> None:
        """Move the file to where these settings have it; a failure is logged."""
        self.remove()
        path = settings.pidfile
        if path is not None:
            try:
                self._file = PidFile(path)
            except (OSError, RuntimeError) as problem:
                log.warning("pid file %s not written: %s", path, problem)

    def remove(self) -> None:
        """Remove the file. Raises nothing."""
        if self._file is not None:
            self._file.remove()
            self._file = None


class PidFile:
    """A file that this process has written: replaced atomically, and removed only while it names this process."""

    def __init__(self, path: Path) -> None:
        """Write the file. Raises RuntimeError if it names a process that lives, and OSError."""
        self._path = path
        with place_of(path) as place:
            other = _read(place)
            if other not in (0, os.getpid()) and _lives(other):
                raise RuntimeError(
                    f"pid file {path}: process {other} is running; stop it, or remove the file if it is stale"
                )
            draft = Place(place.directory, f".{place.name}.{secrets.token_hex(8)}", place.ours)
            file = draft.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                os.fchmod(file, 0o644)
                os.write(file, b"%d\n" % os.getpid())
            finally:
                os.close(file)
            os.rename(draft.name, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)

    def remove(self) -> None:
        """Remove it, if it still names this process. Raises nothing."""
        try:
            with place_of(self._path) as place:
                if _read(place) == os.getpid():
                    os.unlink(place.name, dir_fd=place.directory)
        except OSError:
            pass


def _read(place: Place) -> int:
    """The process id in the file, or 0."""
    try:
        file = place.open(os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return 0
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise FileExistsError(None, "is no file", place.name)
        text = os.read(file, _LONGEST).strip()
    finally:
        os.close(file)
    return int(text) if text.isdigit() else 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
