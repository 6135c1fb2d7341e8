"""The names whose handshakes got no certificate last, and why: for those that read the status."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")

_MOST = 8
"""Names of each outcome: strangers can bring any number of names, and are to push out none of another outcome."""
_LONGEST = 253  # characters of a name


@dataclass(frozen=True, slots=True)
class Refusal(Generic[Outcome]):
    """A name, the last time its handshake was refused (unix seconds), and why."""

    name: str
    when: float
    outcome: Outcome
    reason: str


class RefusedNames(Generic[Outcome]):
    """Of each outcome the newest names; each name once."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._found: dict[Outcome, OrderedDict[str, Refusal[Outcome]]] = {}

    def note(self, name: str, outcome: Outcome, reason: str = "") -> None:
        """A handshake for a name was refused."""
        name = name[:_LONGEST]
        self.forget(name)
        kept = self._found.setdefault(outcome, OrderedDict())
        kept[name] = Refusal(name, self._clock(), outcome, reason)
        if len(kept) > _MOST:
            kept.popitem(last=False)

    def forget(self, name: str) -> None:
        """It has a certificate now."""
        for kept in self._found.values():
            kept.pop(name, None)

    def __iter__(self) -> Iterator[Refusal[Outcome]]:
        return (refusal for kept in self._found.values() for refusal in kept.values())
