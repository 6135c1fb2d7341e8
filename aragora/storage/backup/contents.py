"""What a copy or a database holds, and how a program beside us is run to find out."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from aragora.errors import AragoraError
from aragora.storage.engine import Database, first_line

TIMEOUT = 24 * 3600  # seconds for one run of pg_dump, pg_restore or age


class BackupFailed(AragoraError):  # noqa: N818 - named for what happened, as aragora.errors names its own
    """No copy was made, or nothing was restored; the message says why."""


class Contents(NamedTuple):
    """How much is in it."""

    debates: int
    events: int


def contents(database: Database) -> Contents:
    """What a live database holds at this moment."""
    with database.reading() as connection:
        return Contents(
            *(
                connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608 - our own names
                for table in Contents._fields
            )
        )


def complaint(said: str, code: int) -> str:
    """Why a program failed: what it said, or how it ended."""
    if said.strip():
        return first_line(RuntimeError(said))
    return f"killed by signal {-code}" if code < 0 else f"failed with exit code {code}"


def run(command: Sequence[str], package: str, environ: Mapping[str, str] | None = None) -> str:
    """What a program says; raises `BackupFailed` with its first line when it fails, or is not there."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program and our own words
            command,
            env=dict(environ or os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise BackupFailed(f"{command[0]} is not installed: install {package}") from None
    except subprocess.TimeoutExpired:
        raise BackupFailed(f"{command[0]} was still running after {TIMEOUT} s") from None
    if done.returncode != 0:
        raise BackupFailed(f"{command[0]}: {complaint(done.stderr, done.returncode)}")
    return done.stdout
