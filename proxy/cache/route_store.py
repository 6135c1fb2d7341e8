"""The store as one route uses it: where the responses to its requests are."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf
from time import time
from typing import Final

from proxy.cache import key
from proxy.cache.index import Entry, Resource
from proxy.cache.index_memory import Reading
from proxy.cache.store import Store
from proxy.exchange.request import Request
from proxy.exchange.route import Rewrite
from proxy.observe.numbers import Total
from proxy.wire.head import CRLF
from proxy.wire.via import Via

_PASSING: Final = 10.0
"""Seconds for which requests do not wait for others after a response that could not be stored."""


class Place:
    """Where the response to a request may be stored: the key of all that the application is sent for it.

    `shared`: it is not sent what differs from client to client, unless it depends on that.
    """

    __slots__ = ("_asked", "_fields", "key", "shared")

    def __init__(self, asked: Request, fields: key.Fields, place: bytes, *, shared: bool) -> None:
        self._asked = asked
        self._fields = fields
        self.key = place
        self.shared = shared

    @property
    def block(self) -> bytes:
        """The fields of `request`."""
        return b"".join([line + CRLF for _, line in self._fields])

    @property
    def request(self) -> Request:
        """What the application is sent. Of a trace without its state: a client's text, which is outside of the key."""
        sent = self._asked.sent_as(self._asked.target, self.block)
        if sent.trace is not None:
            sent.trace = sent.trace._replace(state=None)
        return sent


@dataclass(frozen=True, slots=True)
class Search:
    """Where the response to a request may be, the place of a new one in front, and what is known there.

    `turn` is the key under which one request asks for all; where one `passes` it does not wait for its turn. `until` is
    when the places may be others, in seconds since the epoch.
    """

    places: list[Place]
    turn: bytes
    passes: bool
    reading: Reading
    plain: bool
    """Whether the request has no conditions."""
    until: float = inf


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
        *,
        cohort: Callable[[Request], bytes] | None = None,
    ) -> None:
        """`cohort`: which of the application's versions a request is for, while several serve the route."""
        self.route = route
        self.store = store
        self.count = count
        self.default = default
        self.stale_if_error = stale_if_error
        self.patience = patience
        self.clock = clock
        self._name = route.encode()
        self._cohort = cohort
        self._rewrite = rewrite
        self._via = via
        self._own = frozenset(line.removesuffix(CRLF) for line in via.lines)

    def search(self, request: Request) -> Search:
        """Where its response may be. Raises `ExchangeError` if the request cannot be sent to the application."""
        fields = key.fields_of(request.block)
        base = self._shared(request, fields, frozenset())
        reading = self.store.memory.about(base.key)
        now, known, plain = self.clock(), reading.resource, key.is_plain(fields)
        if known is not None and known.until <= now:
            known = None
        whole = self._whole(request, fields)
        if known is None:
            places = [whole, base] if whole.block != base.block else [base]
            return Search(places, base.key, passes=False, reading=reading, plain=plain)
        shared = self._shared(request, fields, known.varies) if known.varies else base
        places = [whole, shared] if known.whole > now else [shared, whole]
        until = min(known.until, known.whole if known.whole > now else inf)
        return Search(places, places[0].key, passes=known.passing > now, reading=reading, plain=plain, until=until)

    def entry(self, search: Search, place: Place) -> Entry | None:
        """What is stored at one of the places that were found."""
        return self.store.memory.entry(search.reading, place.key)

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
        known = self.store.memory.about(base).resource
        return base, known if known is not None and known.until > self.clock() else Resource()

    def shared(self, request: Request, varies: AbstractSet[bytes]) -> Place:
        """Where the response is that all get whose fields of these names are the same."""
        return self._shared(request, key.fields_of(request.block), varies)

    def whole(self, request: Request) -> Place:
        """Where the response is that only the same request gets."""
        return self._whole(request, key.fields_of(request.block))

    def _shared(self, request: Request, fields: key.Fields, varies: AbstractSet[bytes]) -> Place:
        return self._place(request, key.shared(request, fields, varies, self._via), shared=True)

    def _whole(self, request: Request, fields: key.Fields) -> Place:
        return self._place(request, key.whole(fields), shared=False)

    def _place(self, asked: Request, fields: key.Fields, *, shared: bool) -> Place:
        target, sent = asked.target, fields
        if self._rewrite is not None:
            block = b"".join([line + CRLF for _, line in fields])
            rewritten = self._rewrite.outgoing(asked.sent_as(target, block))
            target, sent = rewritten.target, key.fields_of(rewritten.block)
        cohort = b"" if self._cohort is None else self._cohort(asked)
        name = self._name + b"\0" + cohort if cohort else self._name
        return Place(asked, fields, key.digest(name, target, sent, self._own, clients=not shared), shared=shared)
