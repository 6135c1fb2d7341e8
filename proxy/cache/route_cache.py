"""The cache of one route: which requests concern it, and what it has for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy import errors
from proxy.cache.directives import NO_STORE, directives
from proxy.cache.encoded import Encoded
from proxy.cache.fetch import Fetch
from proxy.cache.flights import Flight
from proxy.cache.hits import Hit, Hits
from proxy.cache.index import Entry
from proxy.cache.invalidation import READS, SAFE
from proxy.cache.route_store import RouteStore, Search
from proxy.cache.stored_response import hit_status, is_fresh, respond, serves_error, serves_stale
from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.observe.numbers import Total
from proxy.wire.fields import field_value

_IF_UNCHANGED: Final = (b"if-match:", b"if-unmodified-since:")
"""Conditions of requests that are about the application's own state."""

Refresh = Callable[[Request, Fetch], None]
"""Has a response fetched for the cache alone, by a request that is its own."""


@dataclass(frozen=True, slots=True)
class Look:
    """What there was for a request at one moment: its places, and the entries that there are."""

    search: Search
    entries: list[Entry]

    @property
    def own(self) -> Entry | None:
        """The entry of the first place."""
        return next((entry for entry in self.entries if entry.key == self.search.places[0].key), None)


class RouteCache:
    """One route's cache (`proxy.exchange.caching`)."""

    def __init__(self, kept: RouteStore, *, remembers: bool = True) -> None:
        """`remembers`: what requests had is remembered, which must not depend on more than `hits.key_of` has."""
        self._kept = kept
        self._hits = Hits() if remembers else None
        self._store = kept.store
        self.refresh: Refresh | None = None
        """Set when the route is there."""

    def takes(self, request: Request) -> bool:
        """Whether it may have the response, or the request may change what it has."""
        fields = request.fields
        if request.method in READS:
            plain = not (fields.chunked or fields.content_length is not None or request.upgrade or fields.binding)
            return plain and request.target[:1] == b"/" and not _is_about_state(request)
        return request.method not in SAFE

    def ready(self, request: Request) -> LocalResponse | None:
        """A fresh response that needs no waiting for the disk. Raises `ExchangeError` (416)."""
        fields, hits, now = request.fields, self._hits, self._kept.clock()
        if hits is not None and fields.content_length is None and not fields.chunked:
            response = hits.find(request, now)
            if response is not None:
                self._kept.count(Total.CACHE_HITS)
                return response
        if request.method not in READS or not self.takes(request):
            return None
        search = self._kept.search(request)
        for place in search.places:
            entry = self._kept.entry(search, place)
            if entry is not None and is_fresh(entry, now):
                return self._ready(entry, request, search, now)
        return None

    def _ready(self, entry: Entry, request: Request, search: Search, now: float) -> LocalResponse | None:
        held = self._store.ready(entry)
        if held is None or held.data is None:
            file = self._store.again(entry)
            return None if file is None else self._hit(entry, file, request, now)
        if search.plain and held.entry is entry:  # another request had the same
            hit = Hit(entry, held, entry.status, held.lines, search.reading, now, search.until)
            response = hit.response(now)
            if response is not None:
                return self._remembered(request, entry, hit, response, now)
        if held.forms is None:
            held.forms = Encoded(self._store, entry)
        response = respond(entry, held.data, request, now, hit_status(entry, now), held.forms)
        lines = response.fields[:-2]
        whole = response.status == entry.status  # not by its body: all of it may be a part too, and nothing be a 304's
        if whole:
            held.entry, held.lines, held.age = entry, lines, -1
        elif response.status != 304:
            return self._counted(entry, response, now)
        hit = Hit(entry, held if whole else None, response.status, lines, search.reading, now, search.until)
        return self._remembered(request, entry, hit, response, now)

    def _remembered(
        self, request: Request, entry: Entry, hit: Hit, response: LocalResponse, now: float
    ) -> LocalResponse:
        if self._hits is not None:
            self._hits.remember(request, hit)
        return self._counted(entry, response, now)

    def fetch(self, request: Request) -> Fetch:
        """A response that may be used, or how to get one; waits for another request that asks for the same.

        Raises `ExchangeError`: 416, or 504 for `only-if-cached` (RFC 9111 section 5.2.1.7).
        """
        kept = self._kept
        if request.method not in READS:
            return Fetch(kept, request, None, "")
        asked = directives(request.fields.lines)
        until = kept.clock() + kept.patience
        flight: Flight | None = None
        try:
            while True:
                look = self._look(request)
                response = self._usable(look, request)
                if response is not None:
                    if flight is not None:
                        flight.release()
                    return Fetch(kept, request, None, "", response)
                if b"only-if-cached" in asked:
                    raise ExchangeError(errors.NOT_CACHED)
                alone = request.method == b"HEAD" or NO_STORE in asked or _has(request, b"range")
                if alone or flight is not None or look.search.passes:
                    return self._going(look, request, flight, alone=alone)
                turn = look.search.turn
                flight = self._store.flights.take(turn)
                if flight is None and not self._store.flights.wait(turn, until - kept.clock()):
                    return self._going(look, request, None, alone=False)
        except BaseException:  # the client may leave while the disk is read
            if flight is not None:
                flight.release()
            raise

    def _look(self, request: Request) -> Look:
        search = self._kept.search(request)
        found = [self._kept.entry(search, place) for place in search.places]
        return Look(search, [entry for entry in found if entry is not None])

    def _usable(self, look: Look, request: Request) -> LocalResponse | None:
        """A fresh response, or a stale one that is fetched anew meanwhile."""
        now = self._kept.clock()
        for entry in look.entries:
            fresh = is_fresh(entry, now)
            if fresh or (self.refresh is not None and serves_stale(entry, now)):
                body = self._store.body(entry)
                if body is not None:
                    if not fresh:
                        self._fetch_anew(look, request)
                    return self._hit(entry, body, request, now)
        return None

    def _fetch_anew(self, look: Look, request: Request) -> None:
        """Have the first place filled, unless that is under way."""
        flight = self._store.flights.take(look.search.turn)
        if flight is None:
            return
        own = request.sent_as(request.target, request.block)
        assert self.refresh is not None
        place = look.search.places[0]
        self.refresh(own, Fetch(self._kept, own, place, "fwd=stale", stale=look.own, flight=flight))

    def _going(self, look: Look, request: Request, flight: Flight | None, *, alone: bool) -> Fetch:
        """A request that goes to the application; `alone`: its response is stored for no other."""
        now = self._kept.clock()
        spare = next((entry for entry in look.entries if serves_error(entry, now)), None)
        why = "fwd=stale" if look.own else "fwd=miss"
        place = None if alone else look.search.places[0]
        return Fetch(self._kept, request, place, why, stale=look.own, spare=spare, flight=flight)

    def _hit(self, entry: Entry, body: bytes | int, request: Request, now: float) -> LocalResponse:
        forms = Encoded(self._store, entry)
        return self._counted(entry, respond(entry, body, request, now, hit_status(entry, now), forms), now)

    def _counted(self, entry: Entry, response: LocalResponse, now: float) -> LocalResponse:
        self._store.used(entry, now)
        self._kept.count(Total.CACHE_HITS if is_fresh(entry, now) else Total.CACHE_STALE)
        return response


def _is_about_state(request: Request) -> bool:
    return any(line.lower().startswith(_IF_UNCHANGED) for line in request.fields.lines)


def _has(request: Request, name: bytes) -> bool:
    return field_value(request.fields.lines, name) is not None
