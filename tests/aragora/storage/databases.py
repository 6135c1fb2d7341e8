"""Real databases for tests: a SQLite file, or a PostgreSQL server started here on a unix socket."""

from __future__ import annotations

import getpass
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from aragora.settings import Settings, load
from tests.conftest import program

DEADLINE = 30.0
_numbers = itertools.count(1)


class PostgreSQL:
    """One server in a directory of its own; it listens on a unix socket there and on nothing else."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        # The server refuses to run as root; Debian's package brings the user postgres.
        self.user = "postgres" if os.getuid() == 0 else getpass.getuser()
        shutil.chown(self.directory, self.user)
        cluster = self.directory / "cluster"
        initdb = program("initdb")
        assert initdb is not None
        self._run([initdb, "-D", str(cluster), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"])
        self._cluster = cluster
        self.process: subprocess.Popen[bytes] | None = None

    def _run(self, command: list[str]) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE, **self._identity())

    def _identity(self) -> dict[str, object]:
        if os.getuid() != 0:
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": "/"}

    def start(self) -> None:
        """Start it and wait until it answers."""
        postgres = program("postgres")
        assert postgres is not None
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60", "-k", str(self.directory)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [postgres, "-D", str(self._cluster), *options], stdout=log, stderr=log, **self._identity()
            )
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.directory / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """Fast shutdown: clients are disconnected."""
        if self.process is not None:
            self.process.send_signal(2)
            self.process.wait(DEADLINE)
            self.process = None

    def url(self, database: str) -> str:
        """Where `database` answers."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A running server, shared by the tests of one run."""
    server = PostgreSQL()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.component("postgresql"))])
def environ(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of a process that uses an empty database, of either kind."""
    found = {"ARAGORA_DATA_DIR": str(tmp_path), "ARAGORA_POLL_INTERVAL": "0.02"}
    if request.param == "postgresql":
        found["DATABASE_URL"] = request.getfixturevalue("postgresql").new_database()
    return found


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """The settings of that process."""
    return load(environ)
