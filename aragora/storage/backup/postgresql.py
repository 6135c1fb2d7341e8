"""PostgreSQL's side: its own programs make the archive, and read it back to say what is in it."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from aragora.settings import Settings
from aragora.storage import migrations
from aragora.storage.backup.contents import BackupFailed, Contents, complaint, contents, run
from aragora.storage.engine import open_database

MAGIC = b"PGDMP"
PACKAGE = "PostgreSQL's client programs"
_TABLE = re.compile(rb"COPY (?:\S+\.)?(debates|events|alembic_version) \(([^)]*)\) FROM stdin;")


def dump(settings: Settings, partial: Path) -> None:
    """Dump the database into `partial`, in one snapshot."""
    database = open_database(settings)
    try:
        if migrations.revision(database) is None:
            raise BackupFailed("the database has no tables yet: run aragora migrate")
    finally:
        database.close()
    with _service(settings) as environ:
        run(["pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={partial}"], PACKAGE, environ)


def examine(path: Path) -> Contents:
    """What the archive holds, every row of it read; raises `BackupFailed` unless it is sound and ours."""
    with tempfile.TemporaryFile() as complaints:
        try:
            reader = subprocess.Popen(  # noqa: S603 - a fixed program
                ["pg_restore", "--data-only", "--file=-", str(path)],  # noqa: S607 - found as pg_dump is
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
            )
        except FileNotFoundError:
            raise BackupFailed(f"pg_restore is not installed: install {PACKAGE}") from None
        with reader:
            assert reader.stdout is not None
            try:
                rows, said, revision = _counted(reader.stdout)
            except (ValueError, IndexError):
                raise BackupFailed(f"{path} is not a copy of an aragora database") from None
        if reader.returncode != 0:
            complaints.seek(0)
            words = complaints.read(4096).decode(errors="replace")
            raise BackupFailed(f"{path} is damaged: {complaint(words, reader.returncode)}")
    if not {b"debates", b"events", b"alembic_version"} <= rows.keys():
        raise BackupFailed(f"{path} is not a copy of an aragora database")
    if said != rows[b"events"]:
        raise BackupFailed(f"{path} is damaged: its debates count {said} events, it holds {rows[b'events']}")
    if revision > migrations.HEAD:
        raise BackupFailed(f"{path} was made by a newer version of aragora (revision {revision})")
    return Contents(rows[b"debates"], rows[b"events"])


def _counted(lines: Iterable[bytes]) -> tuple[dict[bytes, int], int, str]:
    """Rows of each table, the sum of the debates' last_seq, and the revision, from COPY's text format."""
    rows: dict[bytes, int] = {}
    said = 0
    revision = ""
    table = b""
    columns: list[bytes] = []
    for line in lines:
        if not table:
            if begun := _TABLE.match(line):
                table = begun[1]
                columns = begun[2].split(b", ")
                rows[table] = 0
        elif line == b"\\.\n":
            table = b""
        else:
            rows[table] += 1
            if table == b"debates":
                said += int(line.rstrip(b"\n").split(b"\t")[columns.index(b"last_seq")])
            elif table == b"alembic_version":
                revision = line.strip().decode(errors="replace")
    return rows, said, revision


def put_back(settings: Settings, source: Path, *, force: bool) -> Contents:
    """Restore the archive in one transaction: whatever fails, the database stays as it was."""
    found = examine(source)
    database = open_database(settings)
    try:
        if not force and migrations.revision(database) is not None and contents(database).debates:
            raise BackupFailed("the database holds debates: stop the servers, then replace them with --force")
    finally:
        database.close()
    with _service(settings) as environ:
        # Waiting for a lock means that a server still runs.
        environ["PGOPTIONS"] = "-c lock_timeout=10s"
        options = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]
        run(["pg_restore", *options, "--dbname=service=aragora", str(source)], PACKAGE, environ)
    return found


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
