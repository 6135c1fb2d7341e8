"""The filters that a request passes before its body is read, in one fixed order."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request


class Filter(Protocol):
    """One of them."""

    def check(self, request: Request) -> LocalResponse | None:
        """None lets the request pass, a response ends it here. Raises `ExchangeError` to refuse it."""


class NonBlocking:
    """Marks a filter whose check never waits."""


class WaitsForUpgrades:
    """Marks a filter whose check waits for nothing but requests that ask for an upgrade."""


class FilterChain:
    """A route's filters; a route that needs none has no chain. A `nonblocking` one never waits."""

    __slots__ = ("_filters", "_for_upgrades", "check", "nonblocking")

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = tuple(filters)
        self.nonblocking = all(isinstance(one, NonBlocking) for one in filters)
        self._for_upgrades = all(isinstance(one, NonBlocking | WaitsForUpgrades) for one in filters)
        self.check: Callable[[Request], LocalResponse | None] = (
            self._filters[0].check if len(self._filters) == 1 else partial(_first_response, self._filters)
        )
        """The first response of a filter, or None. Raises `ExchangeError`."""

    def waits(self, request: Request) -> bool:
        """Whether the check of this request may wait."""
        return not (self.nonblocking or (self._for_upgrades and not request.upgrade))

    def after(self, filters: Sequence[Filter]) -> "FilterChain":
        """This chain with other filters before its own."""
        return FilterChain([*filters, *self._filters])


def _first_response(filters: Sequence[Filter], request: Request) -> LocalResponse | None:
    for one in filters:
        response = one.check(request)
        if response is not None:
            return response
    return None
