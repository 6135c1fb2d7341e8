"""What an operator relies on: dated copies, retention, encryption, reading back, the note of success."""

import json
import os
import secrets
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from aragora.cli import main
from aragora.settings import Settings, load
from aragora.storage import Store, backup
from aragora.storage.backup import BackupFailed
from aragora.storage.engine import sqlite_path
from tests.aragora.storage.databases import PostgreSQL
from tests.aragora.storage.debates import START, append, message, spec


@pytest.fixture
def filled(settings: Settings) -> Iterator[Store]:
    """One debate of ten events."""
    store = Store.open(settings)
    record = store.create(spec("Is this a question?"))
    for _ in range(5):
        append(store, record, START, message("words\twith\n\\. what COPY escapes"))
    yield store
    store.close()


@pytest.fixture
def here(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line runs with these settings."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "directory"
    path.mkdir()
    return path


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, str]:
    """A new key of age: the file of the secret one, and the public one."""
    path = tmp_path / "key"
    subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True, timeout=30)
    public = next(line for line in path.read_text().splitlines() if line.startswith("# public key: "))
    return path, public.removeprefix("# public key: ")


@pytest.mark.usefixtures("filled", "here")
def test_backup_copies_are_dated_counted_and_noted(
    directory: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "aragora-notes.txt").write_text("mine")
    (directory / "aragora-20200101-000000.db.partial").write_text("left by a writer that was killed")
    older = [directory / f"aragora-2020010{day}-000000.db" for day in (1, 2, 3)]
    for path in older:
        path.write_text("old")
    begun = time.time()
    assert main(["backup", str(directory), "--keep", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["debates"], told["events"]) == (1, 10)
    copies = backup.BackupDirectory(directory).copies()
    assert copies == [Path(told["path"]), older[2]]
    assert stat.S_IMODE(copies[0].stat().st_mode) == 0o600
    assert {path.name for path in directory.iterdir()} == {"aragora-notes.txt", *(path.name for path in copies)}
    last = backup.last_backup(settings)
    assert last is not None
    assert begun <= last.at <= time.time()
    assert (last.path, last.size) == (str(copies[0]), copies[0].stat().st_size)


@pytest.mark.usefixtures("filled", "here")
def test_failed_backup_is_not_noted_and_removes_nothing(
    directory: Path,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    older = directory / "aragora-20200101-000000.db"
    older.write_text("old")
    if settings.database_url:
        monkeypatch.setenv("PATH", str(tmp_path))  # no pg_dump
    else:
        sqlite_path(settings).rename(tmp_path / "away")
    assert main(["backup", str(directory), "--keep", "1"]) == 1
    assert capsys.readouterr().out == ""
    assert list(directory.iterdir()) == [older]
    assert backup.last_backup(settings) is None


def test_a_disk_without_room_is_a_failure(filled: Store, environ: dict[str, str], directory: Path) -> None:
    """A limit on the size of files stands for it: writes fail half way through."""
    record = filled.page().debates[0]
    append(filled, record, *[message(secrets.token_hex(20_000)) for _ in range(20)])
    older = directory / "aragora-20200101-000000.db"
    older.write_text("old")
    script = f"ulimit -f 200; exec {sys.executable} -m aragora backup {directory} --keep 1"
    done = subprocess.run(["bash", "-c", script], env=os.environ | environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.startswith("aragora: ")
    assert len(done.stderr.splitlines()) == 1
    assert list(directory.iterdir()) == [older]
    assert backup.last_backup(load(environ)) is None


@pytest.mark.component("machine")
@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_a_full_disk_is_named_and_not_filled_further(environ: dict[str, str], directory: Path) -> None:
    """SQLite leaves files of its own beside what it could not finish."""
    python = sys.executable
    script = f"mount -t tmpfs -o size=64k none {directory}; {python} -m aragora backup {directory}; ls -A {directory}"
    command = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert f"to {directory} (0 MiB free there): " in done.stderr


@pytest.mark.usefixtures("filled", "here")
def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "device")
    assert main(["backup", str(tmp_path / "device"), "--force"]) == 1
    assert (tmp_path / "device").is_fifo()


@pytest.mark.usefixtures("filled", "here")
def test_one_backup_at_a_time(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with backup.BackupDirectory(directory).held():
        assert main(["backup", str(directory)]) == 1
    assert "another backup" in capsys.readouterr().err
    assert list(directory.iterdir()) == []


@pytest.mark.usefixtures("filled", "here")
@pytest.mark.parametrize("words", [["--keep", "0"], ["file", "--keep", "3"], ["one", "two"], ["verify"]])
def test_arguments_that_make_no_sense(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["backup", *words]) == 2


@pytest.mark.usefixtures("filled", "here")
def test_a_copy_is_read_back_on_demand(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", str(directory)]) == 0
    (copy,) = directory.iterdir()
    assert main(["backup", "verify", str(copy)]) == 0
    assert "1 debates with 10 events" in capsys.readouterr().out
    whole = copy.read_bytes()
    for damaged in (whole[: len(whole) * 2 // 3], whole[:-300], b"nothing of ours" * 100):
        copy.write_bytes(damaged)
        assert main(["backup", "verify", str(copy)]) == 1
    assert main(["backup", "verify", str(directory / "none")]) == 1


@pytest.mark.component("age")
def test_an_encrypted_copy_opens_for_its_key_alone(
    filled: Store, environ: dict[str, str], tmp_path: Path, key: tuple[Path, str]
) -> None:
    identity, public = key
    settings = load(environ | {"ARAGORA_BACKUP_RECIPIENT": public})
    copy = tmp_path / f"copy.{backup.kind(settings)}"
    made = backup.back_up(settings, copy)
    assert (made.debates, made.events) == (1, 10)
    assert b"question" not in copy.read_bytes()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")] == []

    assert backup.verify(copy, identity) == made
    with pytest.raises(BackupFailed, match="--identity"):
        backup.verify(copy)
    other = tmp_path / "other"
    subprocess.run(["age-keygen", "-o", str(other)], check=True, capture_output=True, timeout=30)
    with pytest.raises(BackupFailed, match="age: error: no identity matched"):
        backup.verify(copy, other)
    before = [record.id for record in filled.page().debates]
    filled.close()
    backup.restore(settings, copy, force=True, identity=identity)
    store = Store.open(settings)
    try:
        assert [record.id for record in store.page().debates] == before
    finally:
        store.close()
    damaged = bytearray(copy.read_bytes())
    damaged[-20] ^= 1
    copy.write_bytes(damaged)
    with pytest.raises(BackupFailed, match="age"):
        backup.verify(copy, identity)


@pytest.mark.component("age")
def test_a_key_that_is_none_fails_and_leaves_nothing(filled: Store, environ: dict[str, str], tmp_path: Path) -> None:
    settings = load(environ | {"ARAGORA_BACKUP_RECIPIENT": "age1nonsense"})
    with pytest.raises(BackupFailed, match="malformed recipient"):
        backup.back_up(settings, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")] == []


@pytest.mark.usefixtures("filled")
@pytest.mark.component("postgresql")
def test_a_copy_of_the_other_database_is_refused(
    environ: dict[str, str], settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    copy = tmp_path / "copy"
    backup.back_up(settings, copy)
    other = {"ARAGORA_DATA_DIR": str(tmp_path / "other")}
    if "DATABASE_URL" not in environ:
        other["DATABASE_URL"] = request.getfixturevalue("postgresql").new_database()
    with pytest.raises(BackupFailed, match="does not fit DATABASE_URL"):
        backup.restore(load(other), copy)


@pytest.mark.component("postgresql")
def test_an_archive_of_other_tables_with_our_names_is_refused(tmp_path: Path, postgresql: PostgreSQL) -> None:
    url = postgresql.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE debates (id integer); INSERT INTO debates VALUES (1)")
    archive = tmp_path / "foreign.dump"
    subprocess.run(["pg_dump", "-Fc", f"--file={archive}", url], check=True, timeout=60)
    with pytest.raises(BackupFailed, match="not a copy"):
        backup.verify(archive)


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("CREATE TABLE IF NOT EXISTS noise (n INTEGER)")
connection.execute("PRAGMA synchronous = NORMAL")
print("writing", flush=True)
while True:
    connection.execute("INSERT INTO noise VALUES (1)")
"""


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_large_copy_ends_while_another_process_writes(filled: Store, settings: Settings, tmp_path: Path) -> None:
    record = filled.page().debates[0]
    append(filled, record, *[message("x" * 500_000) for _ in range(60)])
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(sqlite_path(settings))], stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            copy = backup.back_up(settings, tmp_path / "copy")
            assert writer.poll() is None
        finally:
            writer.kill()
    assert copy.events == 70
    assert copy.size > 30_000_000


def test_a_note_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path / "file" / "data")})
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupFailed, match="the copy is good"):
        backup.note_backup(settings, backup.LastBackup(1.0, "x", 1))


def test_a_note_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path)})
    for text in ("", "{", "[]", '{"at": "soon"}', '{"at": 1}'):
        (tmp_path / "backup.json").write_text(text)
        assert backup.last_backup(settings) is None
    shutil.rmtree(tmp_path)
    assert backup.last_backup(settings) is None


def test_a_database_without_events_of_a_debate_is_damaged(tmp_path: Path, sqlite_template: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copy(sqlite_template, copy)
    assert backup.verify(copy).debates == 0
    with sqlite3.connect(copy) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(BackupFailed, match="newer version"):
        backup.verify(copy)
