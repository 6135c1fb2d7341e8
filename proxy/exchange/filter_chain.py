"""The filters that a request passes before its body is read, in one fixed order."""

from collections.abc import Sequence
from typing import Protocol

from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request


class Filter(Protocol):
    """One of them."""

    def check(self, request: Request) -> LocalResponse | None:
        """None lets the request pass, a response ends it here. Raises `ExchangeError` to refuse it."""


class NonBlocking:
    """Marks a filter whose check never waits."""


class FilterChain:
    """A route's filters; a route that needs none has no chain. A `nonblocking` one never waits."""

    __slots__ = ("_filters", "nonblocking")

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = tuple(filters)
        self.nonblocking = all(isinstance(one, NonBlocking) for one in filters)

    def after(self, filters: Sequence[Filter]) -> "FilterChain":
        """This chain with other filters before its own."""
        return FilterChain([*filters, *self._filters])

    def check(self, request: Request) -> LocalResponse | None:
        """The first response of a filter, or None. Raises `ExchangeError`."""
        for one in self._filters:
            response = one.check(request)
            if response is not None:
                return response
        return None
