"""Brings the tables to the shape that this version of the code was written for; Alembic keeps the book.

Several processes start at once: on SQLite a lock on a file beside the database, on PostgreSQL an advisory lock lets
one of them do it while the others wait. A process that finds the tables current does not load Alembic at all.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from aragora.errors import SettingsError, Unavailable
from aragora.storage.engine import Database

HEAD = "0001"
PATIENCE = 120.0  # seconds that a process waits for another one's migration
_ADVISORY_KEY = 0x61726167_6F7261  # "aragora"


def revision(database: Database) -> str | None:
    """The revision of the tables; None when there are none yet."""
    if database.path is not None and not database.path.exists():
        return None
    with database.reading() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return found


def upgrade(database: Database) -> bool:
    """Migrate to HEAD; whether anything had to be done.

    Raises :class:`SettingsError` when the tables were made by a newer version, and :class:`Unavailable` when the
    database does not answer or another process keeps the lock.
    """
    if _is_current(database):
        return False
    with _alone(database):
        if _is_current(database):
            return False
        _run(database)
    return True


def _is_current(database: Database) -> bool:
    found = revision(database)
    if found is not None and found > HEAD:
        raise SettingsError(
            f"the database is at revision {found}, this version of aragora knows {HEAD}: install the newer version"
        )
    return found == HEAD


def _run(database: Database) -> None:
    # Imported here: most starts find the tables current, and Alembic takes longer to load than the rest of a start.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    with database.writing() as connection:
        if database.path is None:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    deadline = time.monotonic() + PATIENCE
    if database.path is not None:
        with _file_lock(database.path.with_name(database.path.name + ".lock"), deadline):
            yield
    else:
        with _advisory_lock(database, deadline):
            yield


@contextmanager
def _file_lock(path: Path, deadline: float) -> Iterator[None]:
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(f"another process has been migrating for long; it holds {path}") from None
            time.sleep(0.05)
        yield  # closing the file unlocks it


@contextmanager
def _advisory_lock(database: Database, deadline: float) -> Iterator[None]:
    with database.engine.connect() as connection:
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        while not autocommit.execute(sa.select(sa.func.pg_try_advisory_lock(_ADVISORY_KEY))).scalar():
            if time.monotonic() > deadline:
                raise Unavailable("another process has been migrating for long; it holds the advisory lock")
            time.sleep(0.05)
        try:
            yield
        finally:
            autocommit.execute(sa.select(sa.func.pg_advisory_unlock(_ADVISORY_KEY)))
