"""The processes of one machine tell each other what is said and what changed; here several feeds in one process."""

import dataclasses
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aragora.settings import Settings, load
from aragora.storage import ChangeFeed, Piece, Store, Subscription, polling
from aragora.storage.siblings import connection, mesh
from tests.aragora.storage.debates import append, message, spec
from tests.waiting import until

Join = Callable[[], ChangeFeed]


def piece(offset: int, text: str, answer: str = "a", *, ended: bool = False) -> Piece:
    return Piece(answer, "demo-1", 1, "propose", offset, text, ended)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    # Polling so rarely that nothing it finds is taken for what was told.
    return load({"ARAGORA_DATA_DIR": str(tmp_path / "data"), "ARAGORA_POLL_INTERVAL": "10"})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def join(store: Store, settings: Settings) -> Iterator[Join]:
    feeds: list[ChangeFeed] = []

    def joined() -> ChangeFeed:
        feed = ChangeFeed(store, settings)
        feed.start()
        feeds.append(feed)
        until(lambda: all(len(one._siblings) == len(feeds) - 1 for one in feeds))
        return feed

    yield joined
    for feed in feeds:
        feed.close()


def said(pieces: list[Piece]) -> str:
    return "".join(one.text for one in pieces)


class Ear:
    """Everything that a watcher has heard so far."""

    def __init__(self, watch: Subscription) -> None:
        self.text = ""
        self._watch = watch

    def hear(self) -> str:
        self.text += said(self._watch.take_words())
        return self.text


def test_every_process_hears_every_word_and_event_at_once(join: Join, store: Store) -> None:
    feeds = [join() for _ in range(4)]
    record = store.create(spec())
    speaker = feeds[0]
    watches = [feed.subscribe(record.id, words=True) for feed in feeds]
    ears = [Ear(watch) for watch in watches]
    speaker.say(record.id, piece(0, "Begin "))
    until(lambda: {ear.hear() for ear in ears} == {"Begin "})
    for number in range(100):
        speaker.say(record.id, piece(6 + number, "x"))
    until(lambda: {ear.hear() for ear in ears} == {"Begin " + 100 * "x"})
    added = append(store, record, message("a"))
    speaker.publish(record.id, 1, added)
    until(lambda: all(watch.last_seq == 1 for watch in watches))
    assert all(watch.events(0) == added for watch in watches)
    speaker.publish_deleted(record.id)
    until(lambda: all(watch.deleted for watch in watches))


def test_words_come_before_the_event_that_ends_them(join: Join, store: Store) -> None:
    here, there = join(), join()
    record = store.create(spec())
    with here.subscribe(record.id), there.subscribe(record.id, words=True) as watch:
        here.say(record.id, piece(0, "x", "warm-up"))
        until(watch.take_words)
        for seq in range(1, 30):
            here.say(record.id, piece(0, f"answer {seq}", str(seq), ended=True))
            here.publish(record.id, seq, append(store, record, message("m")))
            until(lambda seq=seq: watch.last_seq >= seq)
            assert said(watch.take_words()) == f"answer {seq}"


def test_a_look_at_the_store_overtakes_no_words(join: Join, store: Store, settings: Settings) -> None:
    here = join()
    there = ChangeFeed(store, dataclasses.replace(settings, poll_interval=0.01))
    there.start()
    until(lambda: len(here._siblings) == len(there._siblings) == 1)
    record = store.create(spec())
    with closing(there), here.subscribe(record.id), there.subscribe(record.id, words=True) as watch:
        here.say(record.id, piece(0, "x", "warm-up"))
        until(watch.take_words)
        # The answer is in the store before its last words have been told: as on a machine with too much to do.
        added = append(store, record, message("an answer"))
        until(lambda: record.id in there._poller._untold)
        assert watch.last_seq == 0
        here.say(record.id, piece(0, "an answer", ended=True))
        here.publish(record.id, 1, added)
        until(lambda: watch.last_seq == 1)
        assert said(watch.take_words()) == "an answer"


def test_another_event_that_is_told_overtakes_no_words(join: Join, store: Store) -> None:
    here, there = join(), join()
    record = store.create(spec())
    with here.subscribe(record.id), there.subscribe(record.id, words=True) as watch:
        here.say(record.id, piece(0, "x", "warm-up"))
        until(watch.take_words)
        first = append(store, record, message("one"))
        # The next answer is in the store already when this process first reads it for the one before.
        second = append(store, record, message("another"))
        here.publish(record.id, 1, first)
        until(lambda: watch.last_seq == 1)
        assert watch.events(0) == first
        here.say(record.id, piece(0, "another", "b", ended=True))
        here.publish(record.id, 2, second)
        until(lambda: watch.last_seq == 2)
        assert said(watch.take_words()) == "another"
        assert watch.events(1) == second


def test_a_reader_overtakes_no_words(join: Join, store: Store) -> None:
    here, there = join(), join()
    record = store.create(spec())
    with here.subscribe(record.id), there.subscribe(record.id, words=True) as watch:
        first = append(store, record, message("one"))
        there.observe(record.id, 1)
        assert watch.events(0) == first
        here.say(record.id, piece(0, "x", "warm-up"))
        until(watch.take_words)
        second = append(store, record, message("another"))
        there.observe(record.id, 2)
        assert watch.events(1) == []
        here.say(record.id, piece(0, "another", "b", ended=True))
        here.publish(record.id, 2, second)
        until(lambda: watch.last_seq == 2)
        assert said(watch.take_words()) == "another"


def test_what_no_sibling_tells_is_taken_from_the_store(
    join: Join, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "SETTLE", 0.05)
    here = join()
    there = ChangeFeed(store, dataclasses.replace(settings, poll_interval=0.01))
    there.start()
    until(lambda: len(here._siblings) == len(there._siblings) == 1)
    record = store.create(spec())
    with closing(there), there.subscribe(record.id) as watch:
        added = append(store, record, message("an answer"))
        until(lambda: watch.last_seq == 1)
        assert watch.events(0) == added


def test_who_comes_late_hears_the_answer_from_its_beginning(join: Join, store: Store) -> None:
    here, there = join(), join()
    record = store.create(spec())
    with here.subscribe(record.id):
        here.say(record.id, piece(0, "Over.", "earlier", ended=True))
        here.say(record.id, piece(0, "Begin "))
        newcomer = join()
        for feed in (there, newcomer):
            with feed.subscribe(record.id, words=True) as watch:
                assert said(until(watch.take_words)) == "Begin "
                with feed.subscribe(record.id, words=True) as second:
                    assert said(second.take_words()) == "Begin "
        with there.subscribe(record.id, words=True) as again:
            ear = Ear(again)
            until(lambda: ear.hear() == "Begin ")
            here.say(record.id, piece(6, "small.", ended=True))
            until(lambda: ear.hear() == "Begin small.")


def test_a_debate_nobody_watches_elsewhere_is_told_to_nobody(join: Join, store: Store) -> None:
    here, there = join(), join()
    record, other = store.create(spec()), store.create(spec())
    with here.subscribe(record.id), there.subscribe(other.id, words=True) as watch:
        (sibling,) = here._siblings._all()
        until(lambda: other.id in sibling._interests)
        here.say(record.id, piece(0, "unheard"))
        here.publish(record.id, 1)
        assert record.id not in sibling._heads
        assert record.id not in sibling._spoken
        here.publish(other.id, 1)
        until(lambda: watch.last_seq == 1)
        watch.close()
        until(lambda: other.id not in sibling._interests)


def test_a_process_that_takes_nothing_takes_nothing_from_others(
    join: Join, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh, "STALL", 1.0)
    here, there = join(), join()
    record = store.create(spec())
    (path,) = [path for path in (settings.data_dir / "live").glob("*.sock") if path.stem == here._siblings.name]
    with socket.socket(socket.AF_UNIX) as stuck, here.subscribe(record.id):
        stuck.connect(str(path))
        stuck.sendall(b'{"process":"stuck"}\n{"watch":["%s"]}\n' % record.id.encode())
        with there.subscribe(record.id, words=True) as watch:
            ear = Ear(watch)
            until(lambda: [record.id in one._interests for one in here._siblings._all()] == [True, True])
            for number in range(100):
                here.say(record.id, piece(0, "x" * 4000, str(number), ended=True))
                until(lambda number=number: len(ear.hear()) == 4000 * (number + 1))
        until(lambda: "stuck" not in here._siblings)


def test_a_process_that_talks_nonsense_is_let_go(join: Join, settings: Settings) -> None:
    here, there = join(), join()
    (path,) = [path for path in (settings.data_dir / "live").glob("*.sock") if path.stem == here._siblings.name]
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"process":1}\n', b'{"process":"n"}\n{"watch":3}\n',
                     b"x" * (connection.LONGEST_LINE + connection.READ + 1)):  # fmt: skip
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            try:
                client.sendall(nonsense)
                while client.recv(65_536):
                    pass
            except ConnectionError:
                pass
    until(lambda: len(here._siblings) == 1)
    assert len(there._siblings) == 1


def test_only_the_service_itself_may_connect(join: Join, settings: Settings) -> None:
    directory = settings.data_dir / "live"
    directory.mkdir(parents=True, mode=0o777)
    directory.chmod(0o777)
    join()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (path,) = directory.glob("*.sock")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_long_path_of_the_data_directory_works(tmp_path: Path) -> None:
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path / ("d" * 120) / ("e" * 120)), "ARAGORA_POLL_INTERVAL": "10"})
    store = Store.open(settings)
    feeds = [ChangeFeed(store, settings) for _ in range(2)]
    try:
        for feed in feeds:
            feed.start()
        until(lambda: all(len(feed._siblings) == 1 for feed in feeds))
    finally:
        for feed in feeds:
            feed.close()
        store.close()
    assert list((settings.data_dir / "live").iterdir()) == []


def test_without_a_socket_events_are_still_found(tmp_path: Path) -> None:
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path)})
    (tmp_path / "live").write_text("a file where the directory should be")
    store = Store.open(settings)
    feed, elsewhere = ChangeFeed(store, settings), Store.open(settings)
    feed.start()
    try:
        record = store.create(spec())
        with feed.subscribe(record.id) as watch:
            append(elsewhere, record, message("a"))
            until(lambda: watch.last_seq == 1)
        assert feed.status().degraded
        assert str(tmp_path / "live") in feed.status().detail
    finally:
        feed.close()
        store.close()
        elsewhere.close()


CHILD = """
import sys, time
from aragora.settings import load
from aragora.storage import ChangeFeed, Piece, Store, Subscription
settings = load()
store = Store.open(settings)
feed = ChangeFeed(store, settings)
feed.start()
with feed.subscribe(sys.argv[1]):
    feed.say(sys.argv[1], Piece("a", "demo-1", 1, "propose", 0, "Begin "))
    time.sleep(600)  # until it is killed
"""


def test_the_death_of_a_process_is_noticed_and_cleaned_up(join: Join, store: Store, settings: Settings) -> None:
    here = join()
    record = store.create(spec())
    environ = {**os.environ, "ARAGORA_DATA_DIR": str(settings.data_dir)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, record.id], env=environ)
    try:
        with here.subscribe(record.id, words=True) as watch:
            assert said(until(watch.take_words)) == "Begin "
            child.kill()
            child.wait()
            until(lambda: not len(here._siblings))
            with here.subscribe(record.id, words=True) as late:
                assert late.take_words() == []
            until(lambda: len(list((settings.data_dir / "live").iterdir())) == 1)
    finally:
        child.kill()
        child.wait()


def test_crossing_connections_become_one(store: Store, settings: Settings) -> None:
    feeds = [ChangeFeed(store, settings) for _ in range(6)]
    starts = [threading.Thread(target=feed.start) for feed in feeds]
    try:
        for start in starts:
            start.start()
        until(lambda: all(len(feed._siblings) == 5 for feed in feeds))
        record = store.create(spec())
        watches = [feed.subscribe(record.id, words=True) for feed in feeds]
        for number, feed in enumerate(feeds):
            feed.say(record.id, piece(0, str(number), f"answer {number}"))
        heard: list[set[str]] = [set() for _ in watches]

        def complete() -> bool:
            for found, watch in zip(heard, watches, strict=True):
                found.update(one.text for one in watch.take_words())
            return all(found == set("012345") for found in heard)

        until(complete)
    finally:
        for start in starts:
            start.join()
        for feed in feeds:
            feed.close()


def test_lines_are_json_objects() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b'{"process":"x"}\n{"id":')
        theirs.sendall(b'"y"}\n')
        theirs.close()
        assert list(connection.lines(ours)) == [json.loads('{"process":"x"}'), {"id": "y"}]
