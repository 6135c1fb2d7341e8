"""The store as one route uses it: where the responses to its requests are."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from time import time
from typing import Final

from proxy.cache import key
from proxy.cache.index import Resource
from proxy.cache.store import Store
from proxy.exchange.request import Request
from proxy.exchange.route import Rewrite
from proxy.observe.numbers import Total
from proxy.wire.via import Via

_PASSING: Final = 10.0
"""Seconds for which requests do not wait for others after a response that could not be stored."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the response to a request may be stored: the key of all that the application is sent for it.

    `shared`: it is not sent what differs from client to client, unless it depends on that.
    """

    key: bytes
    request: Request
    shared: bool


@dataclass(frozen=True, slots=True)
class Search:
    """Where the response to a request may be, the place of a new one in front.

    `turn` is the key under which one request asks for all; where one `passes` it does not wait for its turn.
    """

    places: list[Place]
    turn: bytes
    passes: bool


class RouteStore:
    """`default` is how long responses are fresh of which the application says nothing, `stale_if_error` how much longer
    they may replace its errors where it says nothing of that, `patience` how long a request waits for another one
    for the same. All in seconds; 0: not at all."""

    def __init__(
        self,
        route: str,
        store: Store,
        rewrite: Rewrite | None,
        via: Via,
        count: Callable[[Total], None],
        default: float,
        stale_if_error: float = 0.0,
        patience: float = 0.0,
        clock: Callable[[], float] = time,
    ) -> None:
        self.route = route
        self.store = store
        self.count = count
        self.default = default
        self.stale_if_error = stale_if_error
        self.patience = patience
        self.clock = clock
        self._name = route.encode()
        self._rewrite = rewrite
        self._via = via

    def search(self, request: Request) -> Search:
        """Where its response may be. Raises `ExchangeError` if the request cannot be sent to the application."""
        base = self.shared(request, frozenset())
        known = self._known(base.key)
        whole = self.whole(request)
        if known is None:
            places = [whole, base] if whole.request.block != base.request.block else [base]
            return Search(places, base.key, passes=False)
        shared = self.shared(request, known.varies) if known.varies else base
        places = [whole, shared] if known.whole > self.clock() else [shared, whole]
        return Search(places, places[0].key, passes=known.passing > self.clock())

    def let_pass(self, request: Request) -> None:
        """A response was not stored: the next requests for its resource go to the application at once."""
        base, known = self.resource(request)
        if known.passing > self.clock():
            return
        until = self.clock() + _PASSING
        whole, remembered = max(known.whole, until), max(known.until, until)
        self.store.index.learn(base, known._replace(whole=whole, passing=until, until=remembered))

    def resource(self, request: Request) -> tuple[bytes, Resource]:
        """The key of the resource that a request is about, and what is known of it."""
        base = self.shared(request, frozenset()).key
        return base, self._known(base) or Resource()

    def _known(self, resource: bytes) -> Resource | None:
        known = self.store.index.resource(resource)
        return known if known is not None and known.until > self.clock() else None

    def shared(self, request: Request, varies: AbstractSet[bytes]) -> Place:
        """Where the response is that all get whose fields of these names are the same."""
        return self._place(key.shared(request, varies, self._via), shared=True)

    def whole(self, request: Request) -> Place:
        """Where the response is that only the same request gets."""
        return self._place(key.whole(request), shared=False)

    def _place(self, request: Request, *, shared: bool) -> Place:
        sent = request if self._rewrite is None else self._rewrite.outgoing(request)
        return Place(key.digest(self._name, sent, self._via, clients=not shared), request, shared)
