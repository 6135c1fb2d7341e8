"""What a worker remembers of stored responses: nothing that another worker has changed since."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cache import objects
from proxy.cache.index import Entry, Purge, Resource
from proxy.cache.index_memory import REMEMBERED
from proxy.cache.route_cache import RouteCache
from proxy.cache.route_store import RouteStore
from proxy.cache.stamps import Stamps
from proxy.cache.store import Store
from proxy.exchange.local_response import File, LocalResponse
from proxy.exchange.request import Request
from proxy.observe.numbers import Total
from proxy.wire.request import parse_request_fields
from proxy.wire.request_line import HeadLimits
from proxy.wire.via import NO_VIA

URL = b"http://a/page"


class Worker:
    """One of those that share a directory: what it has, its clock, what it counts."""

    def __init__(self, directory: Path) -> None:
        self.now = 1000.0
        self.counted: list[Total] = []
        self.store = Store(directory, 1 << 20, 100)
        self.kept = RouteStore("default", self.store, None, NO_VIA, self.counted.append, 0.0, clock=lambda: self.now)
        self.cache = RouteCache(self.kept)

    def keep(self, body: bytes, *lines: bytes, lifetime: float = 600.0, asked: Request | None = None) -> Entry:
        """Store the response to a request, as all share it."""
        place = self.kept.shared(asked or request(), frozenset())
        incoming = self.store.incoming()
        assert incoming is not None
        incoming.write(body)
        incoming.close()
        entry = Entry(
            place.key, place.key, URL, "default", 200, b"\n".join(lines), incoming.name, incoming.size,
            incoming.checksum, self.now, 0.0, lifetime, 0.0, 0.0, self.now, " red ",
        )  # fmt: skip
        self.store.put(entry)
        self.store.index.learn(place.key, Resource(until=self.now + 86_400))
        return entry

    def ready(self, asked: Request | None = None) -> LocalResponse | None:
        return self.cache.ready(asked or request())

    def warm(self) -> LocalResponse:
        """Have the response in memory."""
        fetched = self.cache.fetch(request()).response
        assert fetched is not None
        first, second = self.ready(), self.ready()
        assert first is not None
        assert second is not None
        assert second.body == first.body
        assert self.ready() is second
        return second


def request(*lines: bytes, method: bytes = b"GET", target: bytes = b"/page") -> Request:
    text = b"".join(line + b"\r\n" for line in (b"Host: a", *lines))
    fields = parse_request_fields(text.removesuffix(b"\r\n"), HeadLimits(), method, 1)
    return Request(method, target, 1, fields, text, 0.0, client="192.0.2.1", host=b"a")


@pytest.fixture
def workers(tmp_path: Path) -> tuple[Worker, Worker]:
    return Worker(tmp_path), Worker(tmp_path)


def newer(worker: Worker, _entry: Entry) -> None:
    worker.keep(b"new")


def validated(worker: Worker, entry: Entry) -> None:
    worker.store.index.refresh(entry._replace(lines=b"X-New: 1"))


CHANGES: dict[str, Callable[[Worker, Entry], object]] = {
    "url": lambda worker, _: worker.store.purge(Purge.URL, "/page"),
    "prefix": lambda worker, _: worker.store.purge(Purge.PREFIX, "http://a/"),
    "tag": lambda worker, _: worker.store.purge(Purge.TAG, "red"),
    "all": lambda worker, _: worker.store.purge(Purge.ALL, ""),
    "unsafe request": lambda worker, entry: worker.store.invalidate(entry.url),
    "lost body": lambda worker, entry: worker.store.index.remove(entry.key, entry.object),
    "no room": lambda worker, _: worker.store.index.shrink(0, 0),
    "newer response": newer,
    "validated": validated,
    "Vary": lambda worker, entry: worker.store.index.learn(entry.resource, Resource(whole=2000.0, until=9000.0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_another_worker_is_seen_at_once(workers: tuple[Worker, Worker], change: str) -> None:
    one, other = workers
    entry = one.keep(b"old")
    before = one.warm()
    CHANGES[change](other, entry)
    after = one.ready()
    if after is None:
        after = one.cache.fetch(request()).response
    if change == "newer response":
        assert after is not None
        assert after.body == b"new"
    elif change == "validated":
        assert after is not None
        assert b"X-New: 1" in after.fields
    elif change == "Vary":  # the same response, which was found anew
        assert after is not None
        assert after is not before
    else:
        assert after is None


def test_age_is_told_each_second_until_it_is_stale(workers: tuple[Worker, Worker]) -> None:
    worker, _ = workers
    worker.keep(b"body", b"Content-Type: text/plain", lifetime=5.0)
    response = worker.warm()
    assert response.fields == (
        b"Content-Type: text/plain", b"Accept-Ranges: bytes", b"Age: 0", b"Cache-Status: aragora-proxy; hit; ttl=5",
    )  # fmt: skip
    worker.now += 2.0
    later = worker.ready()
    assert later is not None
    assert later.fields[-2:] == (b"Age: 2", b"Cache-Status: aragora-proxy; hit; ttl=3")
    assert later.head().start.endswith(b"ttl=3\r\n")
    worker.now += 3.0
    assert worker.ready() is None
    worker.now -= 60.0  # the clock is set back
    assert worker.ready() is not None
    assert worker.counted.count(Total.CACHE_HITS) == 6


def test_memory_is_asked_for_ten_seconds_only(workers: tuple[Worker, Worker]) -> None:
    worker, _ = workers
    worker.keep(b"body")
    before = worker.warm()
    worker.now += REMEMBERED + 1
    after = worker.ready()
    assert after is not None
    assert after is not before
    entry = worker.store.index.entry(worker.kept.shared(request(), frozenset()).key)
    assert entry is not None
    assert entry.used == worker.now


def test_conditions_and_ranges_are_remembered_apart(workers: tuple[Worker, Worker]) -> None:
    worker, _ = workers
    worker.keep(b"0123456789", b'ETag: "a"')
    worker.warm()
    asked = request(b'If-None-Match: "a"')
    for _ in range(3):
        response = worker.ready(asked)
        assert response is not None
        assert (response.status, response.body) == (304, b"")
        part = worker.ready(request(b"Range: bytes=2-3"))
        assert part is not None
        assert (part.status, part.body) == (206, b"23")
        whole = worker.ready()
        assert whole is not None
        assert (whole.status, whole.body) == (200, b"0123456789")
        head = worker.ready(request(method=b"HEAD"))
        assert head is not None
        assert (head.status, head.length) == (200, 10)


def test_request_with_a_body_is_no_hit(workers: tuple[Worker, Worker]) -> None:
    worker, _ = workers
    worker.keep(b"body")
    worker.warm()
    asked = request()
    asked.fields.content_length = 3
    assert worker.ready(asked) is None


def test_bodies_that_left_memory_are_kept_nowhere(
    workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = workers
    worker.keep(b"x" * 1000)
    worker.warm()
    held = worker.store.ready(worker.keep(b"y" * 1000))
    monkeypatch.setattr(objects, "_MOST_IN_MEMORY", 4000)
    for number in range(3):
        asked = request(target=b"/%d" % number)
        worker.keep(b"%d" % number * 1000, asked=asked)
        worker.cache.fetch(asked)
    assert held is None
    assert worker.ready() is None
    gc.collect()
    bodies = [one for one in gc.get_objects() if isinstance(one, LocalResponse) and one.body == b"x" * 1000]
    assert bodies == []


def test_requests_of_other_clients_are_looked_for(workers: tuple[Worker, Worker]) -> None:
    worker, _ = workers
    worker.keep(b"body")
    first = worker.warm()
    for number in range(3):
        response = worker.ready(request(b"Cookie: a=%d" % number, b"User-Agent: %d" % number))
        assert response is not None
        assert response.body == first.body
    assert worker.ready(request(b"X-Tenant: other")) is None


def test_marks_that_are_removed_or_damaged_are_made_anew(tmp_path: Path) -> None:
    one, other = Stamps(tmp_path), Stamps(tmp_path)
    file = tmp_path / "stamps"
    for damage in (lambda: None, file.unlink, lambda: (file.unlink(), file.write_bytes(b"short"))):
        damage()
        for stamps in (one, other, one):
            stamps.check()
        if one.words is None:  # the damaged one is gone now
            one.check()
            other.check()
        assert one.words is not None
        before = one.words[97]
        other.change([b"a"])
        assert one.words[97] != before
    other.change_all()
    assert 0 not in one.words.tolist()


def test_nothing_is_remembered_without_marks(tmp_path: Path) -> None:
    (tmp_path / "stamps").mkdir()
    one, other = Worker(tmp_path), Worker(tmp_path)
    one.keep(b"old")
    one.cache.fetch(request())
    assert one.ready() is not None
    other.keep(b"new")
    fetched = one.cache.fetch(request()).response
    assert fetched is not None
    assert fetched.body == b"new"


def test_large_body_that_was_in_use_is_opened_without_waiting(workers: tuple[Worker, Worker], tmp_path: Path) -> None:
    worker, _ = workers
    worker.keep(b"x" * 100_000)
    assert worker.ready() is None
    for response in (worker.cache.fetch(request()).response, worker.ready(), worker.ready(request(b"Cookie: a=1"))):
        assert response is not None
        assert isinstance(response.body, File)
        assert response.length == 100_000
        response.close()
    (file,) = (one for one in (tmp_path / "objects").rglob("*") if one.is_file())
    file.write_bytes(b"y" * 100_000)
    os.utime(file, (1, 1))
    assert worker.ready() is None
    assert worker.cache.fetch(request()).response is None
    assert not file.exists()
