"""Migrations: many processes start at once, the tables are what the code says, newer tables are refused."""

import json
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from aragora.debate.events import Draft, EventType
from aragora.errors import SettingsError, Unavailable
from aragora.settings import Settings, load
from aragora.storage import Hold, Limits, Scope, Spending, Store, migrations
from aragora.storage.engine import open_database
from aragora.storage.tables import metadata
from tests.aragora.storage.debates import END, START, spec


@pytest.fixture
def environ(empty_environ: dict[str, str]) -> dict[str, str]:
    """Nothing is migrated yet."""
    return empty_environ


def test_the_migrations_make_the_tables_of_the_code(store: Store) -> None:
    with store.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert store.migrations_current()


def test_head_is_the_last_version() -> None:
    config = Config()
    config.set_main_option("script_location", "aragora:storage/migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_a_second_run_has_nothing_to_do(settings: Settings) -> None:
    database = open_database(settings)
    assert migrations.revision(database) is None
    assert migrations.upgrade(database) is True
    assert migrations.upgrade(database) is False
    assert migrations.revision(database) == migrations.HEAD
    database.close()


def test_processes_that_start_at_once_migrate_once(environ: dict[str, str]) -> None:
    code = (
        "from aragora.settings import load; from aragora.storage.engine import open_database;"
        "from aragora.storage import migrations; print(migrations.upgrade(open_database(load())))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environ | {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, answers
    assert sorted(out.strip() for out, _ in answers) == ["False", "False", "True"]


def test_tables_of_a_newer_version_are_refused(store: Store, settings: Settings) -> None:
    with store.database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert not store.migrations_current()
    with pytest.raises(SettingsError, match=r"9999.*install the newer version"):
        Store.open(settings)


def test_without_migrating_the_store_opens_and_says_so(environ: dict[str, str]) -> None:
    store = Store.open(load(environ | {"ARAGORA_MIGRATE": "0"}))
    try:
        assert not store.migrations_current()
        with pytest.raises(Unavailable, match="aragora migrate"):
            store.create(spec())
    finally:
        store.close()


OLD_DEBATE = {
    "id": "adhoc_" + "0" * 26,
    "slug": "old",
    "title": "Old",
    "spec": json.dumps(spec().to_json()),
    "metadata": "{}",
    "is_public": False,
    "search": "old",
    "status": "running",
    "rounds_used": 1,
    "consensus_reached": False,
    "confidence": 0.0,
    "created_at": 1.0,
    "updated_at": 2.0,
    "last_seq": 1,
    "lease_token": 0,
    "lease_expires": 0.0,
}
OLD_EVENT = {"debate_id": OLD_DEBATE["id"], "seq": 1, "type": "debate_start", "at": 1.0, "round": 0, "data": "{}"}


def insert(store: Store, table: str, row: dict[str, object]) -> None:
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    with store.database.writing() as connection:
        connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)


def test_debates_of_the_oldest_tables_go_on_in_the_newest(store: Store) -> None:
    assert migrations.downgrade(store.database, migrations.OLDEST) is True
    insert(store, "debates", OLD_DEBATE)
    insert(store, "events", OLD_EVENT)
    assert migrations.upgrade(store.database) is True

    record = store.get(str(OLD_DEBATE["id"]))
    assert (record.owner, record.reason, record.share_key, record.spending) == ("", None, None, Spending())
    assert len(store.history(record.id)) == 1
    (lease,) = store.leases.claim("here", 60.0)
    assert store.ledger.hold(lease, [Hold(1, 1)], Limits(), Limits(), 0.0).count == 1
    store.append(record.id, 1, [END], lease=lease, at=3.0)
    assert store.get(record.id).ended


def test_older_tables_keep_the_debates_of_newer_ones(store: Store) -> None:
    record = store.create(spec(), owner="guest")
    store.append(record.id, 0, [START, END], lease=None, at=3.0)
    store.tokens.add("guest", [Scope.READ], Limits())
    store.shares.add(record.id)
    assert migrations.downgrade(store.database, migrations.OLDEST) is True
    assert migrations.downgrade(store.database, migrations.OLDEST) is False
    assert migrations.revision(store.database) == migrations.OLDEST
    with store.database.reading() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM events")).scalar_one() == 2
        assert not sa.inspect(connection).has_table("api_tokens")

    migrations.upgrade(store.database)
    assert store.get(record.id).owner == ""
    assert len(store.history(record.id)) == 2


@pytest.mark.parametrize("target", ["9999", "0000", "base", "-1", "head"])
def test_tables_go_back_to_known_revisions_only(store: Store, target: str) -> None:
    with pytest.raises(SettingsError, match="write a revision from 0001"):
        migrations.downgrade(store.database, target)
    assert store.migrations_current()


def test_answers_of_older_tables_are_found(store: Store) -> None:
    record = store.create(spec())
    answer = Draft(EventType.CONSENSUS, 1, None, {"answer": "Große Halle"})
    store.append(record.id, 0, [START, answer], lease=None, at=3.0)
    migrations.downgrade(store.database, "0004")
    migrations.upgrade(store.database)
    assert [found.id for found in store.page(q="GROSSE halle").debates] == [record.id]
