"""What every participant can do, and how it fails."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aragora.debate.questions import Question, Reply
from aragora.debate.usage import Usage


class Agent(Protocol):
    """One participant of one debate. Several threads may call it at once."""

    def ask(self, question: Question, on_token: Callable[[str], None], deadline: float) -> Reply:
        """Answer before `deadline` (unix seconds); hand the text to `on_token` as it comes.

        Raises `AgentFailed`, and whatever `on_token` raises to break the answer off.
        """


class AgentFailed(Exception):  # noqa: N818 - said of an agent; the caller records it and goes on
    """An agent gave no answer.

    `kind` is one word for metrics (`auth`, `configuration`, `connection`, `protocol`, `quota`,
    `rate_limit`, `refused`, `server`, `timeout`, `too_long`); `message` is for people and never holds a
    key; `retry_after` are the seconds after which asking again makes sense, where the provider named them; `usage`
    is what the vain attempt took nevertheless, where the provider said so.
    """

    def __init__(self, kind: str, message: str, retry_after: float | None = None, usage: Usage | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.retry_after = retry_after
        self.usage = usage


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """One type of agent. When it is not available, `missing` names the variable to set, or to mend and how."""

    name: str
    title: str
    available: bool
    missing: str | None = None
