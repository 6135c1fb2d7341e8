"""What the engine asks of an agent, and what comes back."""

from dataclasses import dataclass
from enum import StrEnum

from aragora.debate.spec import AgentSpec
from aragora.debate.usage import Usage


class Purpose(StrEnum):
    """Why an agent is asked. Proposals and revisions are answered in prose, the others in JSON."""

    PROPOSE = "propose"
    CRITIQUE = "critique"
    REVISE = "revise"
    VOTE = "vote"
    JUDGE = "judge"


class Kind(StrEnum):
    """What a passage of a prompt is."""

    QUESTION = "question"
    CONTEXT = "context"
    STANDPOINT = "standpoint"
    OWN = "own answer"
    ANSWER = "answer"
    CRITIQUE = "critique"
    SUGGESTION = "suggestion"


@dataclass(frozen=True, slots=True)
class Passage:
    """One text that a prompt quotes as data; `author` is an agent's name, or None for people."""

    kind: Kind
    text: str
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One question to one agent. `attempt` counts from 1.

    `target` is the agent whose answer is to be criticised, `choices` are the agents whose answers may be voted for.
    `passages` are the texts quoted in `prompt`, for agents that need no prompt.
    """

    agent: AgentSpec
    purpose: Purpose
    round: int
    target: str | None
    attempt: int
    system: str
    prompt: str
    choices: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent answered; `model` is the one that really answered, when known.

    `usage` is what it took, None where the provider does not say.
    """

    text: str
    model: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no answer came. `kind` is a short word for metrics ("timeout"); neither text may hold a secret.

    `usage` is what the vain attempt took nevertheless, where the provider said so.
    """

    kind: str
    message: str
    usage: Usage | None = None
