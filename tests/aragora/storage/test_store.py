"""The contract of the store, the same on SQLite and PostgreSQL."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aragora.debate.events import Draft, EventType
from aragora.debate.status import Status
from aragora.errors import BadRequest, Conflict, DebateEnded, LeaseLost, NotFound, SeqConflict
from aragora.settings import Settings
from aragora.storage import Store, listing
from aragora.storage.store import ID_FORM, slug
from tests.aragora.storage.debates import END, START, append, message, spec

HOSTILE = ["<script>alert(1)</script>", "'; DROP TABLE debates; --", "100%_\\/", "名前 🎉 Ünïcödé", "{{7*7}}", "\u202e"]


def test_a_new_debate_is_created_and_read_back(store: Store) -> None:
    record = store.create(spec(), title="A title", metadata={"team": "a", "deep": [1, {"x": None}]})

    assert ID_FORM.match(record.id)
    assert record.status == "created"
    assert record.last_seq == 0
    assert not record.ended
    assert record.title == "A title"
    assert record.metadata == {"team": "a", "deep": [1, {"x": None}]}
    assert record.spec == spec()
    assert store.get(record.id) == record
    assert store.events(record.id) == []


def test_ids_are_unguessable(store: Store) -> None:
    ids = {store.create(spec()).id for _ in range(20)}

    assert len(ids) == 20
    assert all(len(debate_id.removeprefix("adhoc_")) * 4 >= 96 for debate_id in ids)


@pytest.mark.parametrize(
    "debate_id", ["adhoc_" + "0" * 26, "", "../../etc/passwd", "adhoc_%00", "' OR 1=1 --", "x" * 9999]
)
def test_an_unknown_id_is_not_found_by_any_method(store: Store, debate_id: str) -> None:
    for call in (
        lambda: store.get(debate_id),
        lambda: store.events(debate_id),
        lambda: store.history(debate_id),
        lambda: store.select(debate_id, [EventType.VOTE]),
        lambda: store.update(debate_id, title="x"),
        lambda: store.delete(debate_id),
        lambda: store.append(debate_id, 0, [START], lease=None, at=1.0),
    ):
        with pytest.raises(NotFound):
            call()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_data(store: Store, text: str) -> None:
    record = store.create(spec(text + " is asked here"), title=text, metadata={text: text})
    (event,) = append(store, record, message(text))

    assert store.get(record.id).title == text
    assert store.events(record.id)[0].data["content"] == text == event.data["content"]
    assert [found.id for found in store.page(q=text).debates] == [record.id]


def test_text_a_column_cannot_hold_stays_in_the_event(store: Store) -> None:
    record = store.create(spec())
    answer = "nul \x00 and half a pair \ud800"
    append(store, record, Draft(EventType.CONSENSUS, 1, None, {"reached": True, "confidence": 0.5, "answer": answer}))

    assert store.events(record.id)[0].data["answer"] == answer
    assert store.get(record.id).final_answer == "nul � and half a pair ?"


def test_slugs_are_ascii_words() -> None:
    assert slug("Should we  adopt «Ünïcödé»?", "adhoc_0123456789") == "should-we-adopt-unicode-456789"
    assert slug("名前は何ですか", "adhoc_0123456789") == "debate-456789"
    assert len(slug("word " * 400, "adhoc_0123456789")) <= 67


def test_events_are_numbered_without_gaps_and_read_in_pieces(store: Store) -> None:
    record = store.create(spec())
    for number in range(7):
        append(store, record, message(f"{number} a"), message(f"{number} b"))

    assert [event.seq for event in store.events(record.id)] == list(range(1, 15))
    assert [event.seq for event in store.events(record.id, since=5, limit=3)] == [6, 7, 8]
    assert [event.seq for event in store.history(record.id)] == list(range(1, 15))
    assert store.events(record.id, since=14) == []
    assert store.heads([record.id, "adhoc_unknown"]) == {record.id: 14}


def test_events_of_some_types_are_paged(store: Store) -> None:
    record = store.create(spec())
    append(store, record, START, message("a"), message("b"), message("c"))

    found, total = store.select(record.id, [EventType.AGENT_MESSAGE], limit=1, offset=1)
    assert [event.data["content"] for event in found] == ["b"]
    assert total == 3
    assert store.select(record.id, [EventType.VOTE]) == ([], 0)


def test_the_summary_follows_the_events(store: Store) -> None:
    record = store.create(spec())
    append(store, record, START)
    assert store.get(record.id).status == "running"

    append(store, record, Draft(EventType.ROUND_START, 2, None, {}))
    consensus = {"reached": True, "confidence": 0.75, "answer": "yes"}
    append(store, record, Draft(EventType.CONSENSUS, 2, None, consensus), END)

    ended = store.get(record.id)
    assert (ended.status, ended.rounds_used, ended.confidence, ended.final_answer) == ("completed", 2, 0.75, "yes")
    assert ended.consensus_reached
    assert ended.ended
    assert ended.ended_at is not None


def test_nothing_follows_the_end(store: Store) -> None:
    record = store.create(spec())
    (lease,) = store.leases.claim("runner", 60)
    append(store, record, START, END, lease=lease)

    for late in (lease, None):
        with pytest.raises(DebateEnded):
            store.append(record.id, 2, [message("late")], lease=late, at=time.time())
    assert store.get(record.id).last_seq == 2


def test_an_append_names_the_end_it_knows(store: Store) -> None:
    record = store.create(spec())
    append(store, record, START)

    for wrong in (0, 2, 99):
        with pytest.raises(SeqConflict):
            store.append(record.id, wrong, [message("x")], lease=None, at=time.time())
    assert [event.seq for event in store.events(record.id)] == [1]


def test_of_many_writers_at_one_place_exactly_one_writes(store: Store) -> None:
    record = store.create(spec())
    together = threading.Barrier(8)

    def write(number: int) -> bool:
        together.wait()
        try:
            store.append(record.id, 0, [message(str(number)), message(str(number))], lease=None, at=time.time())
        except SeqConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1
    first, second = store.events(record.id)
    assert first.data == second.data


def test_many_writers_at_the_end_leave_no_gap(store: Store) -> None:
    record = store.create(spec())

    def write(number: int) -> int:
        (event,) = store.append(record.id, None, [message(str(number))], lease=None, at=time.time())
        return event.seq

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(write, range(40))) == list(range(1, 41))


def test_a_lost_lease_writes_nothing(store: Store) -> None:
    record = store.create(spec())
    (first,) = store.leases.claim("first", 0.0)
    (second,) = store.leases.claim("second", 60)

    with pytest.raises(LeaseLost):
        store.append(record.id, 0, [START], lease=first, at=time.time())
    store.append(record.id, 0, [START], lease=second, at=time.time())
    assert second.token > first.token


def test_deleting_takes_the_events_and_stops_the_runner(store: Store) -> None:
    record = store.create(spec())
    (lease,) = store.leases.claim("runner", 60)
    append(store, record, START, lease=lease)
    store.delete(record.id)

    with pytest.raises(NotFound):
        store.append(record.id, 1, [message("x")], lease=lease, at=time.time())
    assert store.page().debates == ()


def test_updates_change_what_they_name_only(store: Store) -> None:
    record = store.create(spec(), title="old", metadata={"a": 1})

    assert store.update(record.id, title="Neuer Tïtel").metadata == {"a": 1}
    assert store.update(record.id, is_public=True).title == "Neuer Tïtel"
    assert store.update(record.id, metadata={}).is_public
    assert store.page(q="NEUER TÏTEL").debates[0].id == record.id


def test_pages_are_newest_first_and_complete(store: Store) -> None:
    ids = [store.create(spec()).id for _ in range(7)]
    seen, cursor, pages = [], None, 0
    while True:
        page = store.page(limit=3, cursor=cursor)
        seen += [record.id for record in page.debates]
        pages += 1
        cursor = page.next_cursor
        if cursor is None:
            break
        store.create(spec())  # what comes meanwhile does not shift the pages

    assert seen == ids[::-1]
    assert pages == 3


def test_debates_of_one_moment_are_paged_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aragora.storage.store.time.time", lambda: 1000.0)
    ids = {store.create(spec()).id for _ in range(5)}
    first = store.page(limit=2)
    rest = store.page(limit=10, cursor=first.next_cursor)

    assert {record.id for record in first.debates + rest.debates} == ids
    assert len(first.debates + rest.debates) == 5


@pytest.mark.parametrize("cursor", ["x", "!!!!", "MTIz", "e30", "bmFuIGFkaG9jXw", "=" * 40, "é"])
def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadRequest):
        store.page(cursor=cursor)


def test_pages_filter_by_status_and_words(store: Store) -> None:
    one = store.create(spec("Is the Große Halle large enough?"))
    two = store.create(spec("Is 100% of a_b enough for us?"))
    append(store, two, START)

    def found(**filters: str) -> list[str]:
        return [record.id for record in store.page(**filters).debates]

    assert found(status=Status.CREATED) == [one.id]
    assert found(status=Status.RUNNING) == [two.id]
    assert found(q="GROSSE") == [one.id]  # casefolded: ß is ss
    assert found(q="100%") == [two.id]
    assert found(q="a_b") == [two.id]
    assert found(q="a%b") == found(q="axb") == found(q="\x00") == []
    assert found(q="enou large") == [one.id]
    append(store, one, Draft(EventType.CONSENSUS, 1, None, {"reached": True, "answer": "Größer BAUEN."}))
    assert found(q="grösser bau halle") == [one.id]
    answer = "STRASSE, Straße, ΣΊΣΥΦΟΣ, \ufb01le"
    append(store, two, Draft(EventType.CONSENSUS, 1, None, {"reached": True, "answer": answer}))
    assert found(q="straße") == found(q="strasse") == found(q="σίσυφος") == found(q="FILE") == [two.id]


def test_a_search_reads_all_debates_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PIECE", 3)
    made = [store.create(spec(f"Is number {number % 4} the one we want?")).id for number in range(11)]
    every = made[::-1]
    wanted = [made[place] for place in (9, 5, 1)]
    assert [record.id for record in store.page(q="number 1 the").debates] == wanted
    first = store.page(limit=2, q="number 1 the")
    rest = store.page(limit=2, q="number 1 the", cursor=first.next_cursor)
    assert [record.id for record in first.debates + rest.debates] == wanted
    assert rest.next_cursor is None
    assert [record.id for record in store.page(q="wanted").debates] == []
    assert [record.id for record in store.page(q="want").debates] == every


def test_an_idempotency_key_makes_one_debate(store: Store) -> None:
    def create(key: str, body: str) -> str:
        return store.create(spec(), idempotency_key=key, request_hash=body).id

    first = create("key", "hash")
    assert create("key", "hash") == first
    assert create("other", "hash") != first
    with pytest.raises(Conflict):
        create("key", "another hash")


def test_an_idempotency_key_makes_one_debate_of_many_at_once(store: Store) -> None:
    together = threading.Barrier(6)

    def create(_: int) -> str:
        together.wait()
        return store.create(spec(), idempotency_key="key", request_hash="hash").id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(create, range(6)))) == 1


def test_two_stores_see_each_other(store: Store, settings: Settings) -> None:
    record = store.create(spec())
    other = Store.open(settings)
    append(other, record, START)

    assert [event.type for event in store.events(record.id)] == [EventType.DEBATE_START]
    other.close()
