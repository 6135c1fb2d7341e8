"""Migrations: many processes start at once, the tables are what the code says, newer tables are refused."""

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from aragora.errors import SettingsError, Unavailable
from aragora.settings import Settings, load
from aragora.storage import Store, migrations
from aragora.storage.engine import open_database
from aragora.storage.tables import metadata
from tests.aragora.storage.debates import spec


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
