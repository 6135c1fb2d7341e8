"""The steps that a request takes before its body is read, in one fixed order."""

from collections.abc import Callable, Sequence
from typing import Protocol

from proxy.exchange.request import Request
from proxy.filters.response import Answer


class Step(Protocol):
    """One of them."""

    def check(self, request: Request) -> Answer | None:
        """None lets the request go on, an answer ends it here. Raises `ExchangeError` to refuse it."""


class Prompt:
    """Marks a step whose check never waits."""


class Gate:
    """A route's steps; routes that need none have no gate. A `prompt` one never waits."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self.prompt = all(isinstance(step, Prompt) for step in steps)
        self.check: Callable[[Request], Answer | None] = steps[0].check if len(steps) == 1 else self._check_all
        """The first answer of a step, or None. Raises `ExchangeError`."""

    def behind(self, steps: Sequence[Step]) -> "Gate":
        """This gate with other steps before its own."""
        return Gate([*steps, *self._steps])

    def _check_all(self, request: Request) -> Answer | None:
        for step in self._steps:
            answer = step.check(request)
            if answer is not None:
                return answer
        return None
