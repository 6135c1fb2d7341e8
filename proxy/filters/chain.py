"""The steps that a request takes before its body is read, in one fixed order."""

from collections.abc import Callable, Sequence
from typing import Protocol

from proxy.exchange.request import Request
from proxy.filters.response import LocalResponse


class Filter(Protocol):
    """One of them."""

    def check(self, request: Request) -> LocalResponse | None:
        """None lets the request go on, an answer ends it here. Raises `ExchangeError` to refuse it."""


class NonBlocking:
    """Marks a step whose check never waits."""


class FilterChain:
    """A route's steps; routes that need none have no gate. A `nonblocking` one never waits."""

    def __init__(self, steps: Sequence[Filter]) -> None:
        self._steps = tuple(steps)
        self.nonblocking = all(isinstance(step, NonBlocking) for step in steps)
        self.check: Callable[[Request], LocalResponse | None] = steps[0].check if len(steps) == 1 else self._check_all
        """The first answer of a step, or None. Raises `ExchangeError`."""

    def behind(self, steps: Sequence[Filter]) -> "FilterChain":
        """This gate with other steps before its own."""
        return FilterChain([*steps, *self._steps])

    def _check_all(self, request: Request) -> LocalResponse | None:
        for step in self._steps:
            answer = step.check(request)
            if answer is not None:
                return answer
        return None
