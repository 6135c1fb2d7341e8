"""The cache of one route: which requests concern it, and what it has for them."""

from typing import Final

from proxy import errors
from proxy.cache.directives import NO_STORE, directives
from proxy.cache.fetch import Fetch
from proxy.cache.index import Entry
from proxy.cache.route_store import RouteStore
from proxy.cache.stored_response import age_of, is_fresh, respond
from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.wire.fields import field_value

_READS: Final = (b"GET", b"HEAD")
_SAFE: Final = (*_READS, b"OPTIONS", b"TRACE")
_IF_UNCHANGED: Final = (b"if-match", b"if-unmodified-since")
"""Conditions of requests that are about the application's own state."""


class RouteCache:
    """One route's cache (`proxy.exchange.caching`)."""

    def __init__(self, kept: RouteStore) -> None:
        self._kept = kept
        self._store = kept.store

    def takes(self, request: Request) -> bool:
        """Whether it may have the response, or the request may change what it has."""
        fields = request.fields
        if request.method in _READS:
            plain = not (fields.chunked or fields.content_length is not None or request.upgrade or fields.binding)
            return plain and request.target[:1] == b"/" and not any(_has(request, name) for name in _IF_UNCHANGED)
        return request.method not in _SAFE

    def ready(self, request: Request) -> LocalResponse | None:
        """A fresh response whose body is in memory. Raises `ExchangeError` (416)."""
        if request.method not in _READS:
            return None
        now = self._kept.clock()
        for place in self._kept.places(request):
            entry = self._store.index.entry(place.key)
            if entry is not None and is_fresh(entry, now):
                body = self._store.ready(entry)
                return None if body is None else self._hit(entry, body, request, now)
        return None

    def fetch(self, request: Request) -> Fetch:
        """A fresh response, or how to get one.

        Raises `ExchangeError`: 416, or 504 for `only-if-cached` (RFC 9111 section 5.2.1.7).
        """
        if request.method not in _READS:
            return Fetch(self._kept, request, None, "")
        now = self._kept.clock()
        places = self._kept.places(request)
        found = [self._store.index.entry(place.key) for place in places]
        for entry in found:
            if entry is not None and is_fresh(entry, now):
                body = self._store.body(entry)
                if body is not None:
                    return Fetch(self._kept, request, None, "", self._hit(entry, body, request, now))
        asked = directives(request.fields.lines)
        if b"only-if-cached" in asked:
            raise ExchangeError(errors.NOT_CACHED)
        stale = found[0]
        why = "fwd=stale" if stale else "fwd=miss"
        if request.method == b"HEAD" or NO_STORE in asked or _has(request, b"range"):
            return Fetch(self._kept, request, None, why)
        return Fetch(self._kept, request, places[0], why, stale=stale)

    def _hit(self, entry: Entry, body: bytes | int, request: Request, now: float) -> LocalResponse:
        self._store.used(entry, now)
        return respond(entry, body, request, now, f"hit; ttl={entry.lifetime - age_of(entry, now):.0f}")


def _has(request: Request, name: bytes) -> bool:
    return field_value(request.fields.lines, name) is not None
