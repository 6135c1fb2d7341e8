"""SQLite's side: the online backup, the examination of a copy, and its way back."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from aragora.storage import migrations
from aragora.storage.backup.contents import BackupFailed, Contents

MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html section 1.3.1


def side_files(path: Path) -> list[Path]:
    """What SQLite may have laid beside the file at `path`, and leaves there when the disk is full."""
    return [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]


def copy(path: Path, partial: Path) -> None:
    """Copy the database at `path` into the empty file `partial` while others use it."""
    if not path.exists():
        raise BackupFailed(f"there is no database at {path}")
    try:
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as live,
            closing(sqlite3.connect(partial)) as target,
        ):
            # In one step: it reads one snapshot, and in WAL mode readers hold up no writer. In several steps each write
            # of another process would begin it anew, and on a busy service it would never end.
            live.backup(target, pages=-1)
            # One file that can be moved: without it the copy would ask for the live one's -wal.
            target.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        free = shutil.disk_usage(partial.parent).free >> 20
        raise BackupFailed(f"cannot copy {path} to {partial.parent} ({free} MiB free there): {error}") from None


def examine(path: Path) -> Contents:
    """What the file holds; raises `BackupFailed` unless it is sound and ours."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            (size,) = connection.execute(
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            ).fetchone()
            if path.stat().st_size < size:  # SQLite reads what is cut off a last page as zeros
                raise BackupFailed(f"{path} is cut off: it has {path.stat().st_size} of {size} bytes")
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            if problems != ["ok"]:
                raise BackupFailed(f"{path} is damaged: {'; '.join(problems)[:200]}")
            if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise BackupFailed(f"{path} is damaged: it has events without their debate")
            (debates,) = connection.execute("SELECT count(*) FROM debates").fetchone()
            (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
            (said,) = connection.execute("SELECT coalesce(sum(last_seq), 0) FROM debates").fetchone()
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise BackupFailed(f"{path} is not a database of aragora: {error}") from None
    if said != events:
        raise BackupFailed(f"{path} is damaged: its debates count {said} events, it holds {events}")
    if revision > migrations.HEAD:
        raise BackupFailed(f"{path} was made by a newer version of aragora (revision {revision})")
    return Contents(debates, events)


def put_back(source: Path, path: Path, *, force: bool) -> Contents:
    """Make the copy `source` the database at `path`; an old one there is kept as `.replaced`."""
    found = examine(source)
    if path.exists() and not force:
        raise BackupFailed(f"{path} exists: stop the server, then replace it with --force (it is kept as .replaced)")
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(source, partial)
        partial.chmod(0o600)
        if examine(partial) != found:
            raise BackupFailed(f"{partial} does not hold what {source} holds")
        sync(partial)
        if path.exists():
            _set_aside(path)
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        raise BackupFailed(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return found


def _set_aside(path: Path) -> None:
    """Keep the old database as `.replaced`, unless another process uses it."""
    try:
        with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as old:
            # Leaving WAL mode takes every lock there is, so it fails while another connection is open; it also moves
            # move the contents of the -wal into the file.
            if old.execute("PRAGMA journal_mode = DELETE").fetchone()[0] != "delete":
                raise BackupFailed(f"{path} is in use: stop the server first")
    except sqlite3.OperationalError:
        raise BackupFailed(f"{path} is in use: stop the server first") from None
    except sqlite3.DatabaseError:
        pass  # damaged: the very reason to restore; kept as it is
    for left in side_files(path):
        left.unlink(missing_ok=True)
    path.replace(path.with_name(path.name + ".replaced"))


def sync(path: Path) -> None:
    """Have the kernel write a file, or a directory's names, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
