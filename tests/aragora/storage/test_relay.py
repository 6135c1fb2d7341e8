"""Redis between processes, and life without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aragora.settings import load
from aragora.storage import ChangeFeed, Piece, Store
from tests.aragora.storage.debates import append, message, spec
from tests.aragora.storage.redis_server import RedisServer
from tests.waiting import until

pytestmark = pytest.mark.component("redis")
SOON = 15.0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def processes(redis: RedisServer, tmp_path: Path) -> Iterator[list[tuple[Store, ChangeFeed]]]:
    """The parts of two processes on one store that share no data directory."""
    parts = []
    for machine in ("one", "other"):
        # Directories of their own: what crosses is not carried by the processes of one machine.
        (tmp_path / machine).mkdir()
        environ = {"ARAGORA_DATA_DIR": str(tmp_path / machine), "ARAGORA_REDIS_URL": redis.url}
        settings = load(environ | {"DATABASE_URL": f"sqlite:///{tmp_path}/aragora.db"})
        store = Store.open(settings)
        feed = ChangeFeed(store, settings)
        feed.start()
        parts.append((store, feed))
    until(lambda: all(feed.status().mode == "redis" for _, feed in parts))
    yield parts
    for store, feed in parts:
        feed.close()
        store.close()


def test_changes_and_tokens_cross_processes(processes: list[tuple[Store, ChangeFeed]]) -> None:
    (here, publisher), (_, receiver) = processes
    record = here.create(spec())
    with receiver.subscribe(record.id, words=True) as watch:
        added = append(here, record, message("a"))
        publisher.publish(record.id, 1, added)
        until(lambda: watch.last_seq == 1)
        assert watch.events(0) == added

        piece = Piece("a", "demo-1", 1, "propose", 0, "Begin small.")
        publisher.say(record.id, piece)
        assert until(watch.take_words) == [piece]

        here.delete(record.id)
        publisher.publish_deleted(record.id)
        until(lambda: watch.deleted)


def test_redis_brings_a_late_watcher_what_was_said_so_far(processes: list[tuple[Store, ChangeFeed]]) -> None:
    (here, publisher), (_, receiver) = processes
    record = here.create(spec())
    with publisher.subscribe(record.id):
        publisher.say(record.id, Piece("a", "demo-1", 1, "propose", 0, "Begin small, "))
        with receiver.subscribe(record.id, words=True) as watch:
            assert [piece.text for piece in until(watch.take_words)] == ["Begin small, "]
            publisher.say(record.id, Piece("a", "demo-1", 1, "propose", 13, "then grow.", ended=True))
            assert [(piece.offset, piece.text) for piece in until(watch.take_words)] == [(13, "then grow.")]


def test_work_wakes_the_other_runner(processes: list[tuple[Store, ChangeFeed]]) -> None:
    (_, publisher), (_, receiver) = processes
    woken: list[int] = []
    receiver.on_work(lambda: woken.append(1))
    publisher.publish_work()
    until(lambda: bool(woken))


def test_without_redis_polling_takes_over_and_back(
    redis: RedisServer, processes: list[tuple[Store, ChangeFeed]]
) -> None:
    (here, publisher), (_, receiver) = processes
    record = here.create(spec())
    with receiver.subscribe(record.id, words=True) as watch:
        redis.kill()
        until(lambda: receiver.status().degraded)
        assert receiver.status().mode == "sqlite"
        assert "polling" in receiver.status().detail

        for seq in (1, 2):
            publisher.publish(record.id, seq, append(here, record, message("x")))
            until(lambda: watch.last_seq == seq)  # noqa: B023

        redis.start()
        until(lambda: not receiver.status().degraded and not publisher.status().degraded)
        publisher.say(record.id, Piece("a", "demo-1", 1, "propose", 0, "Again."))
        until(watch.take_words)


def test_process_starts_without_a_reachable_redis(tmp_path: Path) -> None:
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path), "ARAGORA_REDIS_URL": f"unix://{tmp_path}/none"})
    store = Store.open(settings)
    feed = ChangeFeed(store, settings)
    feed.start()
    until(lambda: "not connected" not in feed.status().detail)
    status = feed.status()
    feed.close()
    store.close()
    assert status.degraded
    assert status.mode == "sqlite"
