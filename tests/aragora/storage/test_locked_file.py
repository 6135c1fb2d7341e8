"""A SQLite file that another program holds: waited for, then told as unavailable, never as a failure of ours."""

import dataclasses
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from aragora.debate.events import Draft, EventType
from aragora.errors import NotFound, Unavailable
from aragora.settings import Settings
from aragora.storage import Store
from aragora.storage.engine import FILE, _answering
from tests.aragora.storage.debates import spec
from tests.aragora.storage.test_gevent import run

pytestmark = pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
PATIENCE = 0.3


@contextmanager
def locked(directory: Path, how: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """The file held by another program."""
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as holder:
        for statement in how.split(";"):
            holder.execute(statement)
        yield


EXCLUSIVE = "PRAGMA locking_mode = EXCLUSIVE;BEGIN EXCLUSIVE"


@pytest.fixture
def hasty(settings: Settings) -> Iterator[Store]:
    """A store that does not wait for long."""
    store = Store.open(dataclasses.replace(settings, database_timeout=PATIENCE))
    yield store
    store.close()


CALLS: list[Callable[[Store, str], Any]] = [
    lambda store, _: store.create(spec()),
    lambda store, debate: store.append(debate, None, [Draft(EventType.USER_VOTE, 0, None, {})], lease=None, at=0.0),
    lambda store, debate: store.update(debate, title="another"),
    lambda store, debate: store.delete(debate),
    lambda store, _: store.leases.claim("me", 1.0),
    lambda store, _: store.leases.renew("me", 1.0),
    lambda store, _: store.leases.release_all("me"),
]


@pytest.mark.parametrize("call", CALLS)
def test_whatever_writes_says_that_it_may_be_tried_again(hasty: Store, tmp_path: Path, call: Any) -> None:
    debate = hasty.create(spec()).id
    with locked(tmp_path), pytest.raises(Unavailable) as refused:
        call(hasty, debate)
    assert refused.value.retry_after
    call(hasty, debate)


def test_whoever_only_reads_is_served_meanwhile(hasty: Store, tmp_path: Path) -> None:
    debate = hasty.create(spec()).id
    with locked(tmp_path):
        assert hasty.get(debate).id == debate


def test_a_file_that_cannot_even_be_read_is_unavailable(settings: Settings, tmp_path: Path) -> None:
    store = Store.open(dataclasses.replace(settings, database_timeout=PATIENCE))
    debate = store.create(spec()).id
    store.close()
    with locked(tmp_path, EXCLUSIVE):
        with pytest.raises(Unavailable):
            store.get(debate)
        with pytest.raises(Unavailable):
            Store.open(dataclasses.replace(settings, database_timeout=PATIENCE))
    assert store.get(debate).id == debate
    store.close()


def test_a_lock_that_is_released_in_time_is_waited_for(settings: Settings, tmp_path: Path) -> None:
    store = Store.open(settings)
    with locked(tmp_path):
        made: list[str] = []
        thread = threading.Thread(target=lambda: made.append(store.create(spec()).id))
        thread.start()
        thread.join(0.2)
        assert not made
    thread.join(20)
    assert store.get(made[0])
    store.close()


def test_nobody_waits_longer_for_having_come_later(hasty: Store, tmp_path: Path) -> None:
    waited: list[float] = []

    def write() -> None:
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            hasty.create(spec())
        waited.append(time.monotonic() - begun)

    with locked(tmp_path):
        threads = [threading.Thread(target=write) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(waited) == 20
    assert max(waited) < 8 * PATIENCE  # one by one it would be twenty times


def test_a_file_that_is_no_database_any_more_is_unavailable(hasty: Store, tmp_path: Path) -> None:
    hasty.create(spec())
    hasty.close()
    for path in tmp_path.glob(f"{FILE}*"):
        path.write_bytes(b"not a database" * 1000)
    with pytest.raises(Unavailable):
        hasty.create(spec())


def test_waiting_for_a_lock_lets_other_greenlets_run(environ: dict[str, str], tmp_path: Path) -> None:
    with locked(tmp_path, EXCLUSIVE):
        found = run(
            environ | {"ARAGORA_DATABASE_TIMEOUT": "1", "ARAGORA_MIGRATE": "0"},
            """
            from aragora.errors import Unavailable
            ticks, refused = [], []

            def tick():
                while len(refused) < 2:
                    ticks.append(time.monotonic())
                    gevent.sleep(0.01)  # the gaps between these show whether others may run

            def wait(transaction):
                try:
                    with transaction() as connection:
                        connection.execute(sa.text("SELECT 1 FROM debates"))
                except Unavailable:
                    refused.append(time.monotonic())

            both = (store.database.reading, store.database.writing)
            gevent.joinall([gevent.spawn(tick), *(gevent.spawn(wait, each) for each in both)], raise_error=True)
            print(json.dumps({"refused": len(refused), "gap": max(b - a for a, b in zip(ticks, ticks[1:]))}))
            """,
        )
    assert found["refused"] == 2
    assert found["gap"] < 0.7


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database is locked"),
        sqlite3.DatabaseError("database disk image is malformed"),
        psycopg.errors.AdminShutdown("terminating connection"),
        psycopg.errors.ReadOnlySqlTransaction("cannot execute UPDATE in a read-only transaction"),
        psycopg.errors.IdleInTransactionSessionTimeout("terminating connection"),
        psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"),
        psycopg.errors.QueryCanceled("canceling statement due to statement timeout"),
        psycopg.errors.DiskFull("could not extend file"),
        psycopg.InterfaceError("the connection is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_database_failure_is_unavailable(environ: object, error: Exception) -> None:
    for raised in (error, sa.exc.OperationalError("SELECT", None, error), sa.exc.InternalError("SELECT", None, error)):
        with pytest.raises(Unavailable), _answering():
            raise raised


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.IntegrityError("UNIQUE constraint failed"),
        sqlite3.ProgrammingError("wrong number of bindings"),
        psycopg.errors.UniqueViolation("duplicate key"),
        psycopg.errors.SyntaxError("syntax error"),
        psycopg.DataError("cannot dump"),
        NotFound("no debate"),
        ValueError("not JSON"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_mistake_of_ours_stays_one(environ: object, error: Exception) -> None:
    with pytest.raises(type(error)), _answering():
        raise error
    with pytest.raises(sa.exc.ProgrammingError), _answering():
        raise sa.exc.ProgrammingError("SELECT", None, error)
