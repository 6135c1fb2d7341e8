"""The directory in which dated copies stand, and the note of the last success that monitoring reads."""

import dataclasses
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aragora.settings import Settings
from aragora.storage.backup.contents import BackupFailed

_COPY = re.compile(r"aragora-\d{8}-\d{6}\.(db|dump)(\.age)?")
_NOTE = "backup.json"
_MAX_NOTE = 4096


class BackupDirectory:
    """A directory of dated copies; other files in it are left alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def held(self) -> Iterator[None]:
        """For one writer at a time; clears away what a writer that was killed has left.

        Raises `BackupFailed` while another one writes, and when the directory cannot be used.
        """
        try:
            number = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise BackupFailed(f"{self.directory}: {error.strerror}") from None
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in self.directory.glob("aragora-*.partial*"):
                left.unlink(missing_ok=True)
            yield
        except BlockingIOError:
            raise BackupFailed(f"another backup into {self.directory} is running") from None
        finally:
            os.close(number)

    def place(self, kind: str, at: float) -> Path:
        """Where the copy of that moment belongs."""
        return self.directory / f"aragora-{datetime.fromtimestamp(at, UTC):%Y%m%d-%H%M%S}.{kind}"

    def copies(self) -> list[Path]:
        """Every copy, newest first."""
        names = sorted((path.name for path in self.directory.iterdir() if _COPY.fullmatch(path.name)), reverse=True)
        return [self.directory / name for name in names]

    def keep(self, count: int) -> list[Path]:
        """Remove all but the `count` newest; those that were removed."""
        surplus = self.copies()[count:]
        for path in surplus:
            path.unlink(missing_ok=True)
        return surplus


@dataclass(frozen=True, slots=True)
class LastBackup:
    """The last copy that was verified: `at` is the moment it shows, in unix seconds."""

    at: float
    path: str
    size: int


def note_backup(settings: Settings, last: LastBackup) -> None:
    """Leave word of a success in the data directory; raises `BackupFailed`."""
    note = settings.data_dir / _NOTE
    partial = note.with_name(_NOTE + ".partial")
    try:
        note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.write_text(json.dumps(dataclasses.asdict(last)) + "\n")
        partial.replace(note)
    except OSError as error:
        raise BackupFailed(
            f"the copy is good, but {note} cannot be written ({error.strerror}): monitoring would not know of it"
        ) from None


def last_backup(settings: Settings) -> LastBackup | None:
    """The last success that was noted here; None when there was none, or its note cannot be read."""
    try:
        with (settings.data_dir / _NOTE).open("rb") as stream:
            found = json.loads(stream.read(_MAX_NOTE))
        return LastBackup(float(found["at"]), str(found["path"]), int(found["size"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
