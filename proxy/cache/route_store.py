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
from proxy.wire.via import Via

_NOTHING_KNOWN: Final = Resource(frozenset(), 0.0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the response to a request may be stored: the key of all that the application is sent for it.

    `shared`: it is not sent what differs from client to client, unless it depends on that.
    """

    key: bytes
    request: Request
    shared: bool


class RouteStore:
    """`default` is how long responses are fresh of which the application says nothing, in seconds; 0: they are not."""

    def __init__(
        self,
        route: str,
        store: Store,
        rewrite: Rewrite | None,
        via: Via,
        default: float,
        clock: Callable[[], float] = time,
    ) -> None:
        self.route = route
        self.store = store
        self.default = default
        self.clock = clock
        self._name = route.encode()
        self._rewrite = rewrite
        self._via = via

    def places(self, request: Request) -> list[Place]:
        """Where its response may be. The first is where a new one is stored.

        Raises `ExchangeError` if the request cannot be sent to the application.
        """
        base = self.shared(request, frozenset())
        known = self.store.index.resource(base.key)
        whole = self.whole(request)
        if known is None:
            return [whole, base] if whole.request.block != base.request.block else [base]
        shared = self.shared(request, known.varies) if known.varies else base
        return [whole, shared] if known.whole > self.clock() else [shared, whole]

    def resource(self, request: Request) -> tuple[bytes, Resource]:
        """The key of the resource that a request is about, and what is known of it."""
        base = self.shared(request, frozenset()).key
        return base, self.store.index.resource(base) or _NOTHING_KNOWN

    def shared(self, request: Request, varies: AbstractSet[bytes]) -> Place:
        """Where the response is that all get whose fields of these names are the same."""
        return self._place(key.shared(request, varies, self._via), shared=True)

    def whole(self, request: Request) -> Place:
        """Where the response is that only the same request gets."""
        return self._place(key.whole(request), shared=False)

    def _place(self, request: Request, *, shared: bool) -> Place:
        sent = request if self._rewrite is None else self._rewrite.outgoing(request)
        return Place(key.digest(self._name, sent, self._via, clients=not shared), request, shared)
