"""Brings the tables to the shape that this version of the code was written for; Alembic keeps the book.

Several processes start at once: on SQLite a lock on a file beside the database, on PostgreSQL an advisory lock lets
one of them do it while the others wait. A process that finds the tables current does not load Alembic at all.
"""

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from aragora.errors import SettingsError, Unavailable
from aragora.storage.engine import Database

OLDEST = "0001"
HEAD = "0005"
PATIENCE = 120.0  # seconds that a process waits for another one's migration
_ADVISORY_KEY = 0x61726167_6F7261  # "aragora"


def revision(database: Database) -> str | None:
    """The revision of the tables; None when there are none yet."""
    if database.path is not None and not database.path.exists():
        return None
    with database.reading() as connection:
        return _recorded(connection)


def upgrade(database: Database) -> bool:
    """Migrate to HEAD; whether anything had to be done.

    Raises `SettingsError` when the tables were made by a newer version, and `Unavailable` when the
    database does not answer or another process keeps the lock.
    """
    if _is_current(revision(database)):
        return False
    with _alone(database) as connection:
        if _is_current(_recorded(connection)):
            return False
        _run(connection, "upgrade", HEAD)
    return True


def downgrade(database: Database, target: str) -> bool:
    """Take the tables back to revision `target`, for an older version of aragora; whether anything had to be done.

    What only newer tables hold is lost. Raises `SettingsError` for a revision that is unknown or newer than the
    tables, and `Unavailable` as `upgrade` does.
    """
    with _alone(database) as connection:
        found = _recorded(connection)
        if found is None or not OLDEST <= target <= found or len(target) != len(HEAD):
            raise SettingsError(f"--to: the tables are at {found}: write a revision from {OLDEST} to that")
        if target == found:
            return False
        _is_current(found)
        _run(connection, "downgrade", target)
    return True


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """A transaction that no other process' migration runs beside."""
    with _file_lock(database.path), database.writing() as connection:
        if database.path is None:
            connection.execute(
                sa.text(f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {PATIENCE * 1000:.0f}")
            )
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_KEY)))
        yield connection


def _is_current(found: str | None) -> bool:
    if found is not None and found > HEAD:
        raise SettingsError(
            f"the database is at revision {found}, this version of aragora knows {HEAD}: install the newer version"
        )
    return found == HEAD


def _recorded(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _run(connection: Connection, direction: Literal["upgrade", "downgrade"], target: str) -> None:
    # Imported here: most starts find the tables current, and Alembic takes longer to load than the rest of a start.
    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    getattr(command, direction)(config, target)


@contextmanager
def _file_lock(database: Path | None) -> Iterator[None]:
    if database is None:
        yield
        return
    path = database.with_name(database.name + ".lock")
    deadline = time.monotonic() + PATIENCE
    try:
        # Made by us, for its owner alone: SQLite would make it as readable as the umask allows.
        database.touch(mode=0o600)
        file = path.open("a")
    except OSError as error:
        raise Unavailable(f"cannot write {error.filename or path}: {error.strerror}", retry_after=1.0) from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(f"another process has been migrating for long; it holds {path}") from None
            time.sleep(0.05)
        yield  # closing the file unlocks it
