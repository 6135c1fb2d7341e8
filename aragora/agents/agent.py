"""What every participant can do, and how it fails."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aragora.debate.questions import Question, Reply
from aragora.debate.usage import Usage


@dataclass(frozen=True, slots=True)
class Waiting:
    """That a question is not being answered yet, for no fault of the agent's: `place` in the line before its provider,
    from 1, or 0 where the provider is away; `message` says it to people."""

    place: int
    message: str


def unwatched(_waiting: Waiting) -> None:
    """For questions whose waits are not reported."""


class Agent(Protocol):
    """One participant of one debate. Several threads may call it at once."""

    def ask(
        self,
        question: Question,
        on_token: Callable[[str], None],
        deadline: float,
        on_wait: Callable[[Waiting], None] = unwatched,
    ) -> Reply:
        """Answer before `deadline` (unix seconds); hand the text to `on_token` as it comes, tell `on_wait` of waits.

        Raises `AgentFailed`, and whatever `on_token` or `on_wait` raise to break the answer off.
        """


class AgentFailed(Exception):  # noqa: N818 - said of an agent; the caller records it and goes on
    """An agent gave no answer.

    `kind` is one word for metrics, one of `aragora.agents.complaints.Kind`; `message` is for people, holds the
    provider's own words where there are any, and never a key; `final` says that asking again cannot succeed; `usage` is
    what the vain attempt took nevertheless, where the provider said so.
    """

    def __init__(self, kind: str, message: str, *, final: bool = False, usage: Usage | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = str(kind)
        self.message = message
        self.final = final
        self.usage = usage


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """One type of agent. When it is not available, `missing` names the variable to set, or to mend and how."""

    name: str
    title: str
    available: bool
    missing: str | None = None
