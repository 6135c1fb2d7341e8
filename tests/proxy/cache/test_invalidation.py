"""A response that the application made before a change is not stored after it, whichever worker has either."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic

import gevent
import pytest

from proxy import errors
from proxy.cache.fetch import Fetch
from proxy.cache.index import Entry, Purge
from proxy.cache.invalidation import Invalidation
from proxy.cache.route_cache import RouteCache
from proxy.cache.route_store import RouteStore
from proxy.cache.store import Store
from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.wire.request import parse_request_fields
from proxy.wire.request_line import HeadLimits
from proxy.wire.response import ResponseHead, parse_response_head
from proxy.wire.via import NO_VIA
from tests.waiting import PATIENCE, until

STALE = b'ETag: "a"\r\nCache-Control: max-age=0, stale-while-revalidate=600, stale-if-error=600'


class Worker:
    """One of those that share a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Store(directory, 1 << 20, 100)
        self.kept = RouteStore("default", self.store, None, NO_VIA, lambda _: None, 0.0, patience=PATIENCE)
        self.cache = RouteCache(self.kept)
        self.refreshes: list[Fetch] = []
        self.cache.refresh = lambda _request, fetch: self.refreshes.append(fetch)

    def ask(self, method: bytes = b"GET", target: bytes = b"/page") -> Fetch:
        """A request on its way to the application."""
        return self.cache.fetch(request(method, target))

    def write(self, target: bytes = b"/page", status: int = 204) -> None:
        """A request that changes what the application has."""
        self.ask(b"POST", target).take(response(status))

    def keep(self, fields: bytes) -> None:
        answer(self.ask(), response(200, fields), b"old")

    def stored(self, target: bytes = b"/page") -> bool:
        """Whether there is something, fresh or stale."""
        search = self.kept.search(request(b"GET", target))
        return any(self.store.index.entry(place.key) is not None for place in search.places)


def request(method: bytes = b"GET", target: bytes = b"/page") -> Request:
    fields = parse_request_fields(b"Host: a", HeadLimits(), method, 1)
    return Request(method, target, 1, fields, b"Host: a\r\n", 0.0, client="192.0.2.1", host=b"a")


def response(status: int = 200, fields: bytes = b"Cache-Tag: red\r\nCache-Control: max-age=600") -> ResponseHead:
    return parse_response_head(b"HTTP/1.1 %d \r\n%s\r\nContent-Length: 3" % (status, fields))


def answer(fetch: Fetch, head: ResponseHead, body: bytes) -> None:
    """The application's response to a request that was on its way."""
    assert isinstance(fetch.take(head), ResponseHead)
    assert fetch.copy is not None
    fetch.copy.write(body)
    fetch.copy.finish()
    fetch.close()


@pytest.fixture
def one(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


@pytest.fixture(params=["the same worker", "another worker"])
def other(request: pytest.FixtureRequest, one: Worker, tmp_path: Path) -> Worker:
    return one if request.param == "the same worker" else Worker(tmp_path)


CHANGES: dict[str, Callable[[Worker], object]] = {
    "unsafe request": lambda worker: worker.write(),
    "unsafe request with a redirect": lambda worker: worker.write(status=303),
    "unsafe request whose response is replaced": lambda worker: worker.ask(b"PUT").set_aside(response(200)),
    "purge of the address": lambda worker: worker.store.purge(Purge.URL, "http://a/page"),
    "purge of the path": lambda worker: worker.store.purge(Purge.URL, "/page"),
    "purge of the prefix": lambda worker: worker.store.purge(Purge.PREFIX, "/"),
    "purge of the tag": lambda worker: worker.store.purge(Purge.TAG, "red"),
    "purge of all": lambda worker: worker.store.purge(Purge.ALL, ""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_response_to_an_earlier_request_is_not_stored(one: Worker, other: Worker, change: str) -> None:
    fetch = one.ask()
    CHANGES[change](other)
    answer(fetch, response(), b"old")
    assert (one.stored(), other.stored()) == (False, False)
    answer(other.ask(), response(), b"new")
    assert (one.stored(), other.stored()) == (True, True)


@pytest.mark.parametrize("change", CHANGES)
def test_change_while_the_body_comes_counts(one: Worker, other: Worker, change: str) -> None:
    fetch = one.ask()
    assert isinstance(fetch.take(response()), ResponseHead)
    CHANGES[change](other)
    assert fetch.copy is not None
    fetch.copy.write(b"old")
    fetch.copy.finish()
    assert not one.stored()


@pytest.mark.parametrize("change", CHANGES)
def test_refresh_that_began_earlier_is_not_stored(one: Worker, other: Worker, change: str) -> None:
    one.keep(STALE + b"\r\nCache-Tag: red")
    assert one.ask().response is not None
    (refresh,) = one.refreshes
    CHANGES[change](other)
    answer(refresh, response(), b"old")
    assert not one.stored()


@pytest.mark.parametrize("change", CHANGES)
def test_validation_that_began_earlier_stores_nothing(one: Worker, other: Worker, change: str) -> None:
    one.keep(STALE.replace(b"stale-while-revalidate=600, ", b"") + b"\r\nCache-Tag: red")
    fetch = one.ask()
    assert b"If-None-Match" in fetch.request.block
    CHANGES[change](other)
    fetch.take(response(304))  # the client has it, or is to ask once more
    fetch.close()
    assert not one.stored()


@pytest.mark.parametrize("change", CHANGES)
def test_removed_response_replaces_no_error(one: Worker, other: Worker, change: str) -> None:
    one.keep(STALE.replace(b"stale-while-revalidate=600, ", b"") + b"\r\nCache-Tag: red")
    fetch = one.ask()
    assert isinstance(fetch.instead(ExchangeError(errors.UPSTREAM_CLOSED)), LocalResponse)
    CHANGES[change](other)
    assert fetch.instead(ExchangeError(errors.UPSTREAM_CLOSED)) is None


@pytest.fixture
def database(one: Worker) -> Iterator[sqlite3.Connection]:
    """Another process's connection to the index."""
    one.store.index.totals()
    with closing(sqlite3.connect(one.directory / "index.sqlite", isolation_level=None)) as opened:
        yield opened


def test_write_waits_for_the_index(one: Worker, other: Worker, database: sqlite3.Connection) -> None:
    for target in (b"/page", b"/other"):
        answer(one.ask(target=target), response(), b"old")
    database.execute("BEGIN IMMEDIATE")
    change = gevent.spawn(other.write)
    until(lambda: other.store.index.busy, "the index cannot be changed", pause=gevent.sleep)
    assert not change.ready()
    database.execute("ROLLBACK")
    change.get(timeout=PATIENCE)
    assert (one.stored(), other.stored()) == (False, False)
    assert one.stored(b"/other")


def test_write_without_the_index_forgets_everything(one: Worker, other: Worker, database: sqlite3.Connection) -> None:
    answer(one.ask(), response(), b"old")
    fetch = one.ask(target=b"/other")
    database.execute("BEGIN IMMEDIATE")
    other.write()
    other.write(b"/other")
    assert (one.stored(), other.stored()) == (False, False)
    answer(fetch, response(), b"old")
    assert not one.stored(b"/other")
    answer(one.ask(), response(), b"new")
    assert (one.stored(), other.stored()) == (True, True)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PROPFIND", b"REPORT", b"SEARCH"])
def test_safe_methods_invalidate_nothing(one: Worker, method: bytes) -> None:
    assert not Invalidation(one.kept).takes(request(method))
    assert one.cache.takes(request(method)) == (method in (b"GET", b"HEAD"))


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"MKCOL", b"get", b"UNKNOWN"])
def test_all_others_invalidate(one: Worker, method: bytes) -> None:
    answer(one.ask(), response(), b"old")
    cache = Invalidation(one.kept)
    assert cache.takes(request(method))
    assert one.cache.takes(request(method))
    cache.fetch(request(method)).take(response(204))
    assert not one.stored()


def test_error_and_other_address_invalidate_nothing(one: Worker, other: Worker) -> None:
    fetch = one.ask()
    other.write(status=403)
    other.write(b"/other")
    answer(fetch, response(), b"old")
    assert one.stored()


def test_a_response_not_to_be_stored_keeps_earlier_ones_out(one: Worker, other: Worker) -> None:
    one.keep(STALE.replace(b"stale-while-revalidate=600, ", b""))
    earlier = other.cache._going(other.cache._look(request()), request(), None, alone=False)
    later = one.ask()
    while later.take(response(200, b"Cache-Control: private")) is None:
        pass  # asked again, as the client did
    answer(earlier, response(), b"old")
    assert not one.stored()


def test_marks_are_bounded(one: Worker) -> None:
    for number in range(20_000):
        one.store.index.invalidate(b"http://a/%d" % number, monotonic())
    with closing(sqlite3.connect(one.directory / "index.sqlite")) as database:
        (count,) = database.execute("SELECT count(*) FROM invalidated").fetchone()
    assert 10_000 < count <= 16_384


@pytest.mark.parametrize("ahead", [-10.0, 3600.0])
def test_mark_of_a_former_start_of_the_machine_keeps_nothing_out(one: Worker, ahead: float) -> None:
    """Monotonic seconds begin anew then: a mark may be of a later moment than now."""
    moment = monotonic()
    one.store.index.invalidate(b"http://a/page", moment + ahead)
    answer(one.ask(), response(), b"new")
    assert one.stored()


def test_setting_the_clock_back_lets_no_earlier_response_in(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    now = 1_000_000.0
    worker.kept.clock = lambda: now
    fetch = worker.ask()
    now -= 3600.0
    worker.write()
    answer(fetch, response(), b"old")
    assert not worker.stored()


def test_waiting_request_asks_itself_after_the_change(one: Worker) -> None:
    """It does not get what the one before it was sent, which was from before."""
    first = one.ask()
    second = gevent.spawn(one.ask)
    until(lambda: one.store.flights._waiting == 1, "the second waits", pause=gevent.sleep)
    one.write()
    answer(first, response(), b"old")
    assert second.get(timeout=PATIENCE).response is None


def entry_at(worker: Worker, url: bytes) -> Entry:
    incoming = worker.store.incoming()
    assert incoming is not None
    incoming.close()
    return Entry(url, url, url, "default", 200, b"", incoming.name, 0, 0, 0.0, 0.0, 60.0, 0.0, 0.0, 0.0)


def test_encoded_form_of_an_invalidated_body_is_not_stored(one: Worker, other: Worker) -> None:
    began = monotonic()
    form = entry_at(one, b"http://a/page")._replace(whole="body")
    other.write()
    one.store.put(form, began)
    assert one.store.index.entry(form.key) is None
