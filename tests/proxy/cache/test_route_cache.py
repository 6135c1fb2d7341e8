"""Looking for a response while others look for the same."""

from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest

from proxy.cache.route_cache import RouteCache
from proxy.cache.route_store import RouteStore
from proxy.cache.store import Store
from proxy.errors import ClientGone
from proxy.exchange.request import Request
from proxy.wire.request import RequestFields
from proxy.wire.via import NO_VIA


def moments(count: int) -> Iterator[float]:
    """So many looks at a clock, and the client is gone at the next one."""
    yield from repeat(0.0, count)
    raise ClientGone


@pytest.mark.parametrize("count", range(5))
def test_client_that_leaves_holds_up_no_others(tmp_path: Path, count: int) -> None:
    clock = chain(moments(count), repeat(0.0))
    store = Store(tmp_path, 1 << 20, 100)
    kept = RouteStore("default", store, None, NO_VIA, lambda _: None, 0.0, patience=1.0, clock=lambda: next(clock))
    request = Request(b"GET", b"/", 1, RequestFields(), b"Host: app\r\n", 0.0)
    turn = kept.whole(request).key
    with pytest.raises(ClientGone):
        RouteCache(kept).fetch(request).close()
    assert store.flights.take(turn) is not None
