"""Fetching a response for the cache alone, while its client was sent a stale one (RFC 5861 section 3)."""

from collections.abc import Callable
from dataclasses import replace
from time import monotonic

import gevent

from proxy.cache.fetch import Fetch
from proxy.errors import ClientGone
from proxy.exchange.context import ExchangeContext
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.machine import Exchange
from proxy.exchange.request import Request
from proxy.exchange.route import Route
from proxy.exchange.tunnel_side import Side
from proxy.net.stream import Sink
from proxy.settings import Settings
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.response import ResponseHead


class Refresh:
    """Sends a route's requests on without a client. The filters let them pass when their clients sent them."""

    def __init__(self, context: ExchangeContext, route: Route) -> None:
        self._context = context
        self._route = route

    def __call__(self, request: Request, fetch: Fetch) -> None:
        """Begin; the response is for `fetch` alone. Only failures are logged."""
        request.identify(self._context.request_ids)
        request.started = monotonic()
        route = replace(self._route, filters=None, cache=_Under(fetch), logged=0.0)
        gevent.spawn(Exchange(route, self._context, _Absent(), request).drive_blocking)


class _Under:
    """The cache of an exchange whose fetch has begun already."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def takes(self, _request: Request) -> bool:
        return True

    def ready(self, _request: Request) -> LocalResponse | None:
        return None

    def fetch(self, _request: Request) -> Fetch:
        return self._fetch


class _Absent:
    """A client that takes everything at once and learns nothing (`proxy.exchange.downstream`, `proxy.net.stream`)."""

    descriptor: int | None = None
    starved = False
    undelivered = 0
    private: UpstreamConnection | None = None

    def __init__(self) -> None:
        self.sent = 0
        self.begun = False

    @property
    def sink(self) -> Sink:
        return self

    def names(self) -> tuple[object, object]:
        return "", ""

    def keep_private(self, connection: UpstreamConnection) -> None:
        connection.pool.discard(connection)

    def take_private(self) -> UpstreamConnection | None:
        return None

    def take_body(self, _request: Request, _settings: Settings) -> bool:
        return True

    def read_body(self, _request: Request, _settings: Settings) -> None: ...

    def resume_exchange(self) -> None: ...

    def exchange_ended(self) -> None: ...

    def inform(self, _response: ResponseHead) -> None: ...

    def begin(self, _response: ResponseHead, _length: int | None, _body: bytes, *, stream: bool) -> bytes:  # noqa: ARG002
        self.begun = True
        return b""

    def framed(self, data: bytes) -> bytes:
        return data

    def end(self, _trailers: list[bytes]) -> None: ...

    def break_off(self) -> None: ...

    def abort(self) -> None: ...

    def upgrade(self, _response: ResponseHead) -> tuple[Side, bytes]:
        raise ClientGone

    def send(self, data: bytes | memoryview) -> int:
        return len(data)

    def wait_writable(self, _deadline: float) -> None: ...

    def watch_writable(self, _callback: Callable[[], object]) -> None: ...

    def unwatch_writable(self) -> None: ...
