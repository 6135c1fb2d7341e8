"""The change feed: watchers are told at once, whoever made the change, and a thousand cost one read."""

import threading
from collections.abc import Iterator

import pytest

from aragora.errors import NotFound
from aragora.settings import Settings
from aragora.storage import ChangeFeed, Piece, Store
from aragora.storage.topic import RECENT
from tests.aragora.storage.debates import START, append, message, spec
from tests.waiting import until

SOON = 10.0


@pytest.fixture
def feed(store: Store, settings: Settings) -> Iterator[ChangeFeed]:
    opened = ChangeFeed(store, settings)
    opened.start()
    yield opened
    opened.close()


@pytest.fixture
def elsewhere(settings: Settings) -> Iterator[Store]:
    """The store as another process has it: nothing it does is published here."""
    opened = Store.open(settings)
    yield opened
    opened.close()


def test_a_publication_wakes_at_once_and_brings_its_events(feed: ChangeFeed, store: Store) -> None:
    record = store.create(spec())
    with feed.subscribe(record.id) as watch:
        added = append(store, record, START, message("a"))
        feed.publish(record.id, 2, added)

        assert watch.wait(SOON)
        assert watch.events(0) == added
        assert watch.last_seq == 2
        assert watch.events(2) == []


def test_what_another_process_writes_is_found(feed: ChangeFeed, store: Store, elsewhere: Store) -> None:
    record = store.create(spec())
    with feed.subscribe(record.id) as watch:
        for seq in range(1, 6):
            append(elsewhere, record, message(str(seq)))
            until(lambda: watch.last_seq == seq, watch.wait)  # noqa: B023
            assert [event.seq for event in watch.events(seq - 1)] == [seq]


def test_deleting_elsewhere_is_found(feed: ChangeFeed, store: Store, elsewhere: Store) -> None:
    record = store.create(spec())
    with feed.subscribe(record.id) as watch:
        elsewhere.delete(record.id)
        until(lambda: watch.deleted, seconds=SOON, pause=watch.wait)
        with pytest.raises(NotFound):
            watch.events(0)


def test_deleting_here_wakes_at_once(feed: ChangeFeed, store: Store) -> None:
    record = store.create(spec())
    with feed.subscribe(record.id) as watch:
        store.delete(record.id)
        feed.publish_deleted(record.id)
        assert watch.wait(SOON)
        assert watch.deleted


def test_a_thousand_watchers_cost_one_read_per_change(feed: ChangeFeed, store: Store) -> None:
    record = store.create(spec())
    reads = []
    events = store.events
    store.events = lambda *given: reads.append(given) or events(*given)  # type: ignore[method-assign, func-returns-value]
    watches = [feed.subscribe(record.id) for _ in range(1000)]
    for seq in range(1, 11):
        append(store, record, message(str(seq)))
        feed.publish(record.id, seq)
        for watch in watches:
            assert watch.wait(SOON)
            assert [event.seq for event in watch.events(seq - 1)] == [seq]

    assert len(reads) == 10
    topic = watches[0].topic
    assert len(topic.watchers) == 1000
    for watch in watches:
        watch.close()
    assert not topic.watchers


def test_late_watcher_gets_the_beginning_quick_one_the_end(feed: ChangeFeed, store: Store) -> None:
    record = store.create(spec())
    total = RECENT + 100
    with feed.subscribe(record.id) as quick, feed.subscribe(record.id) as late:
        for _ in range(total // 4):
            added = append(store, record, *(message("x") for _ in range(4)))
            feed.publish(record.id, added[-1].seq, added)

        assert [event.seq for event in quick.events(total - 2)] == [total - 1, total]
        seen: list[int] = []
        while piece := late.events(len(seen), 100):
            seen += [event.seq for event in piece]
        assert seen == list(range(1, total + 1))


def test_events_that_come_out_of_order_are_handed_out_in_order(feed: ChangeFeed, store: Store) -> None:
    record = store.create(spec())
    with feed.subscribe(record.id) as watch:
        one = append(store, record, message("1"))
        two = append(store, record, message("2"))
        three = append(store, record, message("3"))
        feed.publish(record.id, 3, three)
        feed.publish(record.id, 1, one)
        feed.publish(record.id, 2, two)
        assert [event.seq for event in watch.events(0)] == [1, 2, 3]
        assert [event.seq for event in watch.events(2)] == [3]


def test_words_wake_those_who_asked_for_them_and_are_not_stored(feed: ChangeFeed, store: Store) -> None:
    record = store.create(spec())
    with feed.subscribe(record.id, words=True) as listening, feed.subscribe(record.id) as watch:
        feed.say(record.id, Piece("a", "demo-1", 1, "propose", 0, "Begin "))
        feed.say(record.id, Piece("a", "demo-1", 1, "propose", 6, "small."))
        assert listening.wait(SOON)
        assert [piece.text for piece in listening.take_words()] == ["Begin small."]
        assert listening.take_words() == []
        assert not watch.wait(0)
        assert watch.take_words() == []
    assert store.events(record.id) == []


def test_the_callback_is_called_beside_wait(feed: ChangeFeed, store: Store, elsewhere: Store) -> None:
    record = store.create(spec())
    woken = threading.Event()
    with feed.subscribe(record.id, woken.set) as watch:
        append(elsewhere, record, START)
        assert woken.wait(SOON)
        assert watch.last_seq == 1


def test_nobody_is_told_after_closing(feed: ChangeFeed, store: Store) -> None:
    record = store.create(spec())
    calls: list[int] = []
    watch = feed.subscribe(record.id, lambda: calls.append(1))
    watch.close()
    watch.close()
    feed.publish(record.id, 1)
    assert calls == []
    assert not watch.topic.watchers


def test_closing_the_feed_wakes_everybody(store: Store, settings: Settings) -> None:
    feed = ChangeFeed(store, settings)
    feed.start()
    watch = feed.subscribe(store.create(spec()).id)
    waiting = threading.Timer(0.05, feed.close)
    waiting.start()
    assert watch.wait(SOON)
    waiting.join()


def test_its_state_is_told(feed: ChangeFeed, store: Store) -> None:
    until(lambda: not feed.status().degraded)
    assert feed.status().mode == store.database.kind
