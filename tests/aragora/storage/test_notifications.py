"""PostgreSQL's notifications between machines: changes at once, without Redis and without polling."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from aragora.settings import load
from aragora.storage import ChangeFeed, Piece, Store, polling
from aragora.storage.relays import notifications
from tests.aragora.storage.databases import PostgreSQL
from tests.aragora.storage.debates import append, message, spec
from tests.conftest import program
from tests.ports import ports
from tests.waiting import until

pytestmark = pytest.mark.component("postgresql")

SLOW = 30.0  # seconds between polls, which never come in a test

Parts = list[tuple[Store, ChangeFeed]]


@pytest.fixture
def machines(postgresql: PostgreSQL, postgresql_template: str, tmp_path: Path) -> Iterator[Parts]:
    """The parts of a process on each of two machines, which share a database and nothing else."""
    url = postgresql.new_database(postgresql_template)
    parts = []
    for machine in ("one", "other"):
        directory = tmp_path / machine
        directory.mkdir()
        environ = {"ARAGORA_DATA_DIR": str(directory), "DATABASE_URL": url, "ARAGORA_POLL_INTERVAL": "10"}
        settings = load(environ)
        store = Store.open(settings)
        feed = ChangeFeed(store, settings)
        feed.start()
        parts.append((store, feed))
    until(lambda: all(feed.status().detail == "connected" for _, feed in parts))
    yield parts
    for store, feed in parts:
        feed.close()
        store.close()


@pytest.fixture(autouse=True)
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll so rarely that what arrives was told."""
    monkeypatch.setattr(polling, "SAFETY", SLOW)


def test_changes_and_work_cross_machines(machines: Parts) -> None:
    (here, publisher), (_, receiver) = machines
    record = here.create(spec())
    woken: list[int] = []
    receiver.on_work(lambda: woken.append(1))
    with receiver.subscribe(record.id, words=True) as watch:
        publisher.publish_work()
        until(lambda: woken)
        added = append(here, record, message("a"), message("b"))
        publisher.publish(record.id, 2, added)
        until(lambda: watch.last_seq == 2)
        assert watch.events(0) == added
        publisher.say(record.id, Piece("a", "demo-1", 1, "propose", 0, "not carried"))
        here.delete(record.id)
        publisher.publish_deleted(record.id)
        until(lambda: watch.deleted)
        assert watch.take_words() == []


def test_many_changes_at_once_fit_the_payload(machines: Parts) -> None:
    (here, publisher), (_, receiver) = machines
    records = [here.create(spec()) for _ in range(300)]
    watches = [receiver.subscribe(record.id) for record in records]
    for record in records:
        publisher.publish(record.id, 1, append(here, record, message("a")))
    until(lambda: all(watch.last_seq == 1 for watch in watches))


def test_a_lost_listener_connects_again(machines: Parts) -> None:
    (here, publisher), (_, receiver) = machines
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    with here.database.writing() as connection:
        connection.execute(sa.text(end))
    until(lambda: receiver.status().degraded)
    until(lambda: not receiver.status().degraded and not publisher.status().degraded)
    record = here.create(spec())
    with receiver.subscribe(record.id) as watch:
        publisher.publish(record.id, 1, append(here, record, message("a")))
        until(lambda: watch.last_seq == 1)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.component("pgbouncer")
def test_a_pooler_that_keeps_notifications_is_noticed(
    postgresql: PostgreSQL, postgresql_template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "SILENCE", 1.0)
    monkeypatch.setattr(notifications, "ECHO", 0.2)
    name = postgresql.new_database(postgresql_template).partition("@/")[2].partition("?")[0]
    (port,) = ports(1)
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n{name} = host={postgresql.directory} dbname={name} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n"
        "ignore_startup_parameters = options,extra_float_digits\nunix_socket_dir =\n"
    )
    tmp_path.chmod(0o755)
    user = ["-u", "postgres"] if os.getuid() == 0 else []
    pooler = subprocess.Popen([program("pgbouncer"), *user, str(config)], stderr=subprocess.DEVNULL)
    settings = load(
        {
            "ARAGORA_DATA_DIR": str(tmp_path / "data"),
            "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{port}/{name}",
            "ARAGORA_DATABASE_PREPARE": "0",
        }
    )
    try:
        until(lambda: answers(port))
        store = Store.open(settings)
        feed, elsewhere = ChangeFeed(store, settings), Store.open(settings)
        feed.start()
        until(lambda: notifications.NOTHING in feed.status().detail)
        record = store.create(spec())
        with feed.subscribe(record.id) as watch:
            append(elsewhere, record, message("a"))
            until(lambda: watch.last_seq == 1)
        feed.close()
        store.close()
        elsewhere.close()
    finally:
        pooler.terminate()
        pooler.wait()
