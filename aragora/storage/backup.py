"""Copies of the database that are checked before anybody is told that they exist.

SQLite is copied with its own online backup: readers and writers go on meanwhile, and the copy is one consistent file.
PostgreSQL is dumped with `pg_dump -Fc` in one snapshot and restored with `pg_restore` in one transaction. A copy is
written beside its target, verified there, and gets its name last; a target therefore is never half a copy.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from aragora.errors import AragoraError
from aragora.settings import Settings
from aragora.storage import migrations
from aragora.storage.engine import Database, first_line, open_database, sqlite_path

PAGES = 2048  # copied at a time; between the pieces writers get their turn
TIMEOUT = 24 * 3600  # seconds for one run of pg_dump or pg_restore
_SIDE_FILES = ("-wal", "-shm")


class BackupFailed(AragoraError):  # noqa: N818  named for what happened, as aragora.errors names its own
    """No copy was made, or nothing was restored; the message says why."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A verified copy, or a restored and verified database."""

    path: Path
    size: int
    debates: int
    events: int


def back_up(settings: Settings, target: Path, *, force: bool = False) -> Copy:
    """Copy the database to ``target``; raises :class:`BackupFailed`, and then leaves no file behind."""
    if target.exists() and not force:
        raise BackupFailed(f"{target} exists: name another file, or overwrite it with --force")
    partial = target.with_name(target.name + ".partial")
    try:
        # Made here, for its owner alone: the copy holds everything that was ever said.
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if _is_sqlite(settings):
            counts = _copy_sqlite(sqlite_path(settings), partial)
        else:
            counts = _dump(settings, partial)
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise BackupFailed(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return Copy(target, target.stat().st_size, *counts)


def restore(settings: Settings, source: Path, *, force: bool = False) -> Copy:
    """Make the copy in ``source`` the database; raises :class:`BackupFailed` and then changes nothing.

    Without ``force`` an existing database is refused. Nothing else may use it meanwhile.
    """
    if not source.is_file():
        raise BackupFailed(f"{source}: no such file")
    if _is_sqlite(settings):
        counts = _restore_sqlite(source, sqlite_path(settings), force=force)
    else:
        counts = _restore_dump(settings, source, force=force)
    database = open_database(settings)
    try:
        migrations.upgrade(database)
        if _counts(database) != counts:
            raise BackupFailed("the restored database does not hold what the copy holds")
    finally:
        database.close()
    return Copy(source, source.stat().st_size, *counts)


def _is_sqlite(settings: Settings) -> bool:
    return not settings.database_url or settings.database_url.startswith("sqlite")


def _counts(database: Database) -> tuple[int, int]:
    with database.reading() as connection:
        return tuple(
            connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608  our own names
            for table in ("debates", "events")
        )


def _copy_sqlite(path: Path, partial: Path) -> tuple[int, int]:
    if not path.exists():
        raise BackupFailed(f"there is no database at {path}")
    try:
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as live,
            closing(sqlite3.connect(partial)) as copy,
        ):
            live.backup(copy, pages=PAGES, sleep=0.005)
            # One file that can be moved: without it the copy would ask for the live one's -wal.
            copy.execute("PRAGMA journal_mode = DELETE")
        return _verified(partial)
    except sqlite3.Error as error:
        raise BackupFailed(f"{path}: {error}") from None


def _verified(path: Path) -> tuple[int, int]:
    """How many debates and events the file holds; raises :class:`BackupFailed` unless it is sound and ours."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
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
    return debates, events


def _restore_sqlite(source: Path, path: Path, *, force: bool) -> tuple[int, int]:
    counts = _verified(source)
    if path.exists() and not force:
        raise BackupFailed(f"{path} exists: stop the server, then replace it with --force (it is kept as .replaced)")
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(source, partial)
        partial.chmod(0o600)
        if _verified(partial) != counts:
            raise BackupFailed(f"{partial} does not hold what {source} holds")
        _sync(partial)
        if path.exists():
            _set_aside(path)
        partial.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise BackupFailed(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return counts


def _set_aside(path: Path) -> None:
    """Keep the old database as ``.replaced``, unless somebody uses it."""
    try:
        with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as old:
            # Leaving WAL mode takes every lock there is, so it fails while another connection is open; it also moves
            # what stands in the -wal into the file.
            if old.execute("PRAGMA journal_mode = DELETE").fetchone()[0] != "delete":
                raise BackupFailed(f"{path} is in use: stop the server first")
    except sqlite3.OperationalError:
        raise BackupFailed(f"{path} is in use: stop the server first") from None
    except sqlite3.DatabaseError:
        pass  # damaged: the very reason to restore; kept as it is
    for end in _SIDE_FILES:
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.replace(path.with_name(path.name + ".replaced"))


def _dump(settings: Settings, partial: Path) -> tuple[int, int]:
    database = open_database(settings)
    try:
        if migrations.revision(database) is None:
            raise BackupFailed("the database has no tables yet: run aragora migrate")
        counts = _counts(database)
    finally:
        database.close()
    with _service(settings) as environ:
        _run(["pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={partial}"], environ)
    # Reads the whole archive back: a truncated or damaged one fails here.
    _run(["pg_restore", "--file=/dev/null", str(partial)], dict(os.environ))
    return counts


def _restore_dump(settings: Settings, source: Path, *, force: bool) -> tuple[int, int]:
    listed = _run(["pg_restore", "--list", str(source)], dict(os.environ))
    if "TABLE DATA public debates" not in listed or "TABLE DATA public events" not in listed:
        raise BackupFailed(f"{source} is not a copy of an aragora database")
    database = open_database(settings)
    try:
        if not force and migrations.revision(database) is not None and _counts(database)[0]:
            raise BackupFailed("the database holds debates: stop the servers, then replace them with --force")
    finally:
        database.close()
    with _service(settings) as environ:
        # Waiting for a lock means that a server still runs.
        environ["PGOPTIONS"] = "-c lock_timeout=10s"
        _run(
            [
                "pg_restore",
                "--clean",
                "--if-exists",
                "--no-owner",
                "--no-privileges",
                "--single-transaction",
                "--exit-on-error",
                "--dbname=service=aragora",
                str(source),
            ],
            environ,
        )
    database = open_database(settings)
    try:
        return _counts(database)
    finally:
        database.close()


@contextmanager
def _service(settings: Settings) -> Iterator[dict[str, str]]:
    """An environment that leads PostgreSQL's programs to the database: a password in arguments would show in ps."""
    url = sa.make_url(settings.database_url)
    found = {"host": url.host, "port": url.port, "user": url.username, "password": url.password, "dbname": url.database}
    values = {name: value for name, value in found.items() if value} | dict(url.query)
    with tempfile.TemporaryDirectory(prefix="aragora-") as directory:
        file = Path(directory) / "service"
        file.touch(mode=0o600)
        file.write_text("[aragora]\n" + "".join(f"{name}={value}\n" for name, value in values.items()))
        yield os.environ | {"PGSERVICEFILE": str(file), "PGSERVICE": "aragora"}


def _run(command: list[str], environ: dict[str, str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603  a fixed program and our own words
            command, env=environ, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise BackupFailed(f"{command[0]} is not installed: install PostgreSQL's client programs") from None
    if done.returncode != 0:
        raise BackupFailed(f"{command[0]}: {first_line(RuntimeError(done.stderr))}")
    return done.stdout


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
