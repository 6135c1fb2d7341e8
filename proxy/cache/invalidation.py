"""Writes through routes that store nothing: they make what others store invalid (RFC 9111 section 4.4)."""

from typing import Final

from proxy.cache.fetch import Fetch
from proxy.cache.route_store import RouteStore
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request

READS: Final = (b"GET", b"HEAD")
SAFE: Final = (*READS, b"OPTIONS", b"TRACE", b"PROPFIND", b"REPORT", b"SEARCH")
"""Methods that change nothing (RFC 9110 section 9.2.1, and those that IANA's registry says that of)."""


class Invalidation:
    """A route's cache (`proxy.exchange.caching`) that has no response for any request."""

    def __init__(self, kept: RouteStore) -> None:
        self._kept = kept

    def takes(self, request: Request) -> bool:
        """Whether it may change what is stored."""
        return request.method not in SAFE

    def ready(self, _request: Request) -> LocalResponse | None:
        """Nothing: its requests go to the application."""
        return None

    def fetch(self, request: Request) -> Fetch:
        """The request as it is; its response says whether it was a success."""
        return Fetch(self._kept, request, None, "")
