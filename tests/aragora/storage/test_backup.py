"""Copies on both databases: complete while others write, verified, never half, never over something by accident."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aragora.settings import Settings, load
from aragora.storage import Store, backup
from aragora.storage.backup import BackupFailed
from tests.aragora.storage.databases import PostgreSQL
from tests.aragora.storage.debates import START, append, message, spec


@pytest.fixture
def filled(settings: Settings) -> Iterator[Store]:
    """A database with three debates of twenty events."""
    store = Store.open(settings)
    for number in range(3):
        record = store.create(spec(f"Is this question number {number}?"))
        for _ in range(10):
            append(store, record, START, message("x" * 500))
    yield store
    store.close()


@pytest.fixture
def elsewhere(environ: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Settings of an empty database of the same kind."""
    changed = environ | {"ARAGORA_DATA_DIR": str(tmp_path / "elsewhere")}
    if "DATABASE_URL" in environ:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        changed["DATABASE_URL"] = server.new_database()
    return load(changed)


def test_a_copy_restores_what_was_there(filled: Store, settings: Settings, elsewhere: Settings, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    copy = backup.back_up(settings, target)
    assert (copy.debates, copy.events) == (3, 60)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600

    restored = backup.restore(elsewhere, target)
    assert (restored.debates, restored.events) == (3, 60)
    store = Store.open(elsewhere)
    try:
        assert [record.id for record in store.page().debates] == [record.id for record in filled.page().debates]
        for record in filled.page().debates:
            assert store.history(record.id) == filled.history(record.id)
    finally:
        store.close()


def test_a_copy_made_while_others_write_is_whole(
    filled: Store, settings: Settings, elsewhere: Settings, tmp_path: Path
) -> None:
    record = filled.page().debates[0]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            append(filled, record, message("y" * 2000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            backup.back_up(settings, tmp_path / str(number))
    finally:
        stop.set()
        writer.join()
    backup.restore(elsewhere, tmp_path / "2")
    store = Store.open(elsewhere)
    try:
        assert len(store.history(record.id)) == store.get(record.id).last_seq > 20
    finally:
        store.close()


def test_nothing_is_overwritten_without_force(filled: Store, settings: Settings, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.write_text("precious")
    with pytest.raises(BackupFailed, match="--force"):
        backup.back_up(settings, target)
    assert target.read_text() == "precious"

    backup.back_up(settings, target, force=True)
    with pytest.raises(BackupFailed, match="--force"):
        backup.restore(settings, target)


def test_force_replaces_a_database_that_nobody_uses(filled: Store, settings: Settings, tmp_path: Path) -> None:
    backup.back_up(settings, tmp_path / "copy")
    record = filled.page().debates[0]
    append(filled, record, message("after the copy"))
    filled.close()

    backup.restore(settings, tmp_path / "copy", force=True)
    store = Store.open(settings)
    try:
        assert store.get(record.id).last_seq == 20
    finally:
        store.close()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "foreign", "missing", "empty"])
def test_a_copy_that_is_none_is_refused_and_changes_nothing(
    filled: Store, settings: Settings, tmp_path: Path, damage: str
) -> None:
    target = tmp_path / "copy"
    backup.back_up(settings, target)
    content = target.read_bytes()
    match damage:
        case "truncated":
            target.write_bytes(content[: len(content) // 2])
        case "garbage":
            target.write_bytes(b"\x00garbage" * 1000)
        case "foreign":
            target.unlink()
            sqlite3.connect(target).close()
        case "missing":
            target.unlink()
        case "empty":
            target.write_bytes(b"")
    before = [record.id for record in filled.page().debates]
    with pytest.raises(BackupFailed):
        backup.restore(settings, target, force=True)
    assert [record.id for record in filled.page().debates] == before


def test_a_failed_copy_leaves_nothing(empty_environ: dict[str, str], tmp_path: Path) -> None:
    settings = load(empty_environ)
    with pytest.raises(BackupFailed):  # there is no database yet
        backup.back_up(settings, tmp_path / "copy")
    with pytest.raises(BackupFailed):
        backup.back_up(settings, tmp_path / "no such directory" / "copy")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")] == []


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_a_database_in_use_is_not_replaced(filled: Store, settings: Settings, tmp_path: Path) -> None:
    backup.back_up(settings, tmp_path / "copy")
    filled.page()  # an open connection, as a running server has it
    with pytest.raises(BackupFailed, match="in use"):
        backup.restore(settings, tmp_path / "copy", force=True)
    assert len(filled.page().debates) == 3


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_a_damaged_database_is_not_called_a_success(filled: Store, settings: Settings, tmp_path: Path) -> None:
    with filled.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM events WHERE seq = 7")
    with pytest.raises(BackupFailed, match="damaged"):
        backup.back_up(settings, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    "environ", [pytest.param("postgresql", marks=pytest.mark.component("postgresql"))], indirect=True
)
def test_without_postgresqls_programs_the_failure_says_so(
    filled: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupFailed, match="pg_dump is not installed"):
        backup.back_up(settings, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
