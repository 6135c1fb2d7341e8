"""Looking for a response while others look for the same."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from time import time

import pytest

from proxy.cache.index import Entry
from proxy.cache.route_cache import RouteCache
from proxy.cache.route_store import RouteStore
from proxy.cache.store import Store
from proxy.errors import ClientGone, ExchangeError
from proxy.exchange.request import Request
from proxy.wire.request import RequestFields
from proxy.wire.via import NO_VIA


def asked(*lines: bytes) -> Request:
    fields = RequestFields()
    fields.lines = list(lines)
    return Request(b"GET", b"/", 1, fields, b"".join(line + b"\r\n" for line in (b"Host: app", *lines)), 0.0)


def moments(count: int) -> Iterator[float]:
    """So many looks at a clock, and the client is gone at the next one."""
    yield from repeat(0.0, count)
    raise ClientGone


@pytest.mark.parametrize("count", range(5))
def test_client_that_leaves_holds_up_no_others(tmp_path: Path, count: int) -> None:
    clock = chain(moments(count), repeat(0.0))
    store = Store(tmp_path, 1 << 20, 100)
    kept = RouteStore("default", store, None, NO_VIA, lambda _: None, 0.0, patience=1.0, clock=lambda: next(clock))
    request = asked()
    turn = kept.whole(request).key
    with pytest.raises(ClientGone):
        RouteCache(kept).fetch(request).close()
    assert store.flights.take(turn) is not None


@pytest.mark.parametrize("body", [b"hello", b""])
@pytest.mark.parametrize("line", [b"Range: bytes=0-", b"Range: bytes=0-0,-1", b'If-None-Match: "a"'])
def test_conditions_change_nothing_for_others(tmp_path: Path, line: bytes, body: bytes) -> None:
    """Neither a part that is all of the body nor a 304 of an empty one is remembered as the whole."""
    store = Store(tmp_path, 1 << 20, 100)
    kept = RouteStore("default", store, None, NO_VIA, lambda _: None, 0.0)
    place, incoming, now = kept.shared(asked(), frozenset()), store.incoming(), time()
    assert incoming is not None
    incoming.write(body)
    incoming.close()
    stored = b'Content-Type: text/html\nETag: "a"'
    file = incoming.name, incoming.size, incoming.checksum
    store.put(Entry(place.key, place.key, b"", "default", 200, stored, *file, now, 0.0, 60.0, 0.0, 0.0, now))
    cache = RouteCache(kept)
    cache.fetch(asked()).close()
    with suppress(ExchangeError):  # of nothing there is no part
        cache.ready(asked(line))
    for response in (cache.ready(asked()), cache.ready(asked()), cache.ready(asked(b"User-Agent: other"))):
        assert response is not None
        names = [field.partition(b":")[0] for field in response.fields]
        assert (response.status, response.body) == (200, body)
        assert sorted(names) == [b"Accept-Ranges", b"Age", b"Cache-Status", b"Content-Type", b"ETag"]
