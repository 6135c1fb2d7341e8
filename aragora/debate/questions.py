"""What the engine asks of an agent, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aragora.debate.spec import AgentSpec
from aragora.debate.usage import Usage


class Purpose(StrEnum):
    """Why an agent is asked. Proposals and revisions are answered in prose, the others in JSON."""

    PROPOSE = "propose"
    CRITIQUE = "critique"
    REVISE = "revise"
    VOTE = "vote"
    JUDGE = "judge"
    SYNTHESIZE = "synthesize"


class Kind(StrEnum):
    """What a passage of a prompt is."""

    QUESTION = "question"
    CONTEXT = "context"
    CRITERIA = "criteria"
    STANDPOINT = "standpoint"
    OWN = "your answer"
    ANSWER = "answer"
    CRITIQUE = "critique"
    RESULT = "result of the vote"
    SUGGESTION = "suggestion"
    REPLY = "your last reply"


@dataclass(frozen=True, slots=True)
class Passage:
    """One text that a prompt quotes as data.

    `author` is an agent's name, for agents that need no prompt; None for people. It is never shown: an answer has a
    `label`, and a critique that of the answer it is about, None where that is the reader's own.
    """

    kind: Kind
    text: str
    author: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One question to one agent. `attempt` counts from 1.

    `choices` are the agents whose answers are to be criticised or may be voted for, in the order of their letters;
    `ranks` asks for all of them, the best first. `passages` are the texts quoted in the prompt, for agents that need no
    prompt. What an agent is sent is `system`, then `opening` and `prompt` in one: the first two are the same for all
    questions of a debate, so that providers keep them in their caches. `mark` is what the prompt sets texts off with.
    `schema` is the JSON schema of an answer that is not prose; `example` shows such an answer to models that no schema
    holds to it, behind the prompt.
    """

    agent: AgentSpec
    purpose: Purpose
    round: int
    attempt: int
    system: str
    prompt: str
    choices: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    opening: str = ""
    mark: str = ""
    ranks: bool = False
    schema: Mapping[str, Any] | None = None
    example: str = ""

    @property
    def shown(self) -> str:
        """What an answer may repeat and must not be taken for: the prompt with its example."""
        return f"{self.prompt}\n\n{self.example}" if self.example else self.prompt


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent answered; `model` is the one that really answered, when known.

    `usage` is what it took, None where the provider does not say. `cut` says in one word why the answer is not whole
    (`length`, `content_filter`, `window`, `pause`), `omitted` what was left out of the prompt to fit the model.
    """

    text: str
    model: str | None = None
    usage: Usage | None = None
    cut: str | None = None
    omitted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no answer came. `kind` is a short word for metrics ("timeout"); neither text may hold a secret.

    `usage` is what the vain attempt took nevertheless, where the provider said so; `final` says that asking again
    cannot succeed.
    """

    kind: str
    message: str
    usage: Usage | None = None
    final: bool = False
