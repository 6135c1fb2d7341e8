"""The steps that a request takes before its body is read, in one fixed order."""

from collections.abc import Sequence
from typing import Protocol

from proxy.gate.answer import Answer
from proxy.upstream.request import Request


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

    def check(self, request: Request) -> Answer | None:
        """The first answer of a step, or None. Raises `ExchangeError`."""
        for step in self._steps:
            answer = step.check(request)
            if answer is not None:
                return answer
        return None
