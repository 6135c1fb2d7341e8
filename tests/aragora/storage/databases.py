"""Real databases for tests: a SQLite file, or a PostgreSQL server started here on a unix socket."""

import getpass
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from aragora.settings import Settings, load
from aragora.storage import Store
from aragora.storage.engine import FILE
from tests.conftest import program
from tests.waiting import until

DEADLINE = 90.0
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
        until(self._accepts, (self.directory / "log").read_text, DEADLINE)

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Fast shutdown: clients are disconnected."""
        if self.process is not None:
            self.process.send_signal(2)
            self.process.wait(DEADLINE)
            self.process = None

    def url(self, database: str) -> str:
        """Where `database` answers."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def new_database(self, template: str = "template0") -> str:
        """The URL of a copy of `template`."""
        name = f"test_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
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


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgreSQL) -> str:
    """The name of a database with current tables: migrating once is enough for most tests."""
    url = postgresql.new_database()
    Store.open(load({"DATABASE_URL": url, "ARAGORA_DATA_DIR": "/nonexistent"})).close()
    return url.partition("@/")[2].partition("?")[0]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with current tables."""
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path_factory.mktemp("template"))})
    Store.open(settings).close()
    return settings.data_dir / FILE


KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.component("postgresql"))]


def environment(directory: Path) -> dict[str, str]:
    """The environment of a process with a database in `directory`."""
    return {"ARAGORA_DATA_DIR": str(directory), "ARAGORA_POLL_INTERVAL": "0.02"}


@pytest.fixture(params=KINDS)
def empty_environ(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose database, of either kind, has no tables yet."""
    found = environment(tmp_path)
    if request.param == "postgresql":
        found["DATABASE_URL"] = request.getfixturevalue("postgresql").new_database()
    return found


@pytest.fixture(params=KINDS)
def environ(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose database, of either kind, has current tables and no debates."""
    found = environment(tmp_path)
    if request.param == "postgresql":
        template = request.getfixturevalue("postgresql_template")
        found["DATABASE_URL"] = request.getfixturevalue("postgresql").new_database(template)
    else:
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / FILE)
    return found


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """The settings of that process."""
    return load(environ)
