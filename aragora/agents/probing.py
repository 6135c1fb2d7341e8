"""Asking a model one word: whether its server is there, its key taken, its name known, which no setting tells."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import requests

from aragora.agents.account import Lengths, account
from aragora.agents.agent import AgentFailed, Waiting
from aragora.agents.chat import ChatAgent
from aragora.agents.complaints import Kind
from aragora.agents.endpoint import Endpoints
from aragora.agents.providers import find
from aragora.agents.registry import DIALECTS
from aragora.debate.questions import Purpose, Question
from aragora.debate.spec import AgentSpec
from aragora.debate.usage import Usage

WAIT = 60.0  # seconds for the answer; a model that has to be loaded first may take longer
SHOWN = 200  # characters of the answer that are passed on
_LENGTHS = Lengths(prose=64, json=64, thinking=2048)


@dataclass(frozen=True, slots=True)
class Probe:
    """What asking `model` came to: `answer` is its word, or `kind` and `message` say why there is none."""

    type: str
    model: str
    seconds: float
    answer: str | None = None
    kind: str | None = None
    message: str | None = None
    usage: Usage | None = None

    @property
    def ok(self) -> bool:
        """Whether the model answered."""
        return self.kind is None


def probe(
    name: str,
    model: str | None,
    environ: Mapping[str, str],
    endpoints: Endpoints,
    *,
    connections: requests.Session | None = None,
    wait: float = WAIT,
    clock: Callable[[], float] = time.time,
) -> Probe:
    """Ask `model`, or the one of the settings, of the provider called `name`; never raises for what a provider does."""
    began = clock()
    provider = find(name)
    if provider is None:
        raise AgentFailed(Kind.CONFIGURATION, f"no provider {name!r}", final=True)
    waits: list[Waiting] = []
    asked_for = model or ""
    try:
        asked = account(provider, model, environ)
        asked_for = asked.model
        asked = replace(asked, lengths=_LENGTHS, patience=replace(asked.patience, outage=0.0))
        agent = ChatAgent(asked, DIALECTS[provider.api], endpoints.of(asked), connections=connections, clock=clock)
        reply = agent.ask(_question(name, model), lambda _text: None, began + wait, waits.append)
    except AgentFailed as failed:
        message = failed.message
        if failed.kind == Kind.TIMEOUT and waits and waits[-1].place:
            message = f"it answers other questions: {waits[-1].message}"
        return Probe(name, asked_for, clock() - began, kind=failed.kind, message=message, usage=failed.usage)
    said = " ".join(reply.text.split())[:SHOWN]
    return Probe(name, reply.model or asked_for, clock() - began, said, usage=reply.usage)


def _question(name: str, model: str | None) -> Question:
    return Question(
        agent=AgentSpec(name, name, model),
        purpose=Purpose.PROPOSE,
        round=1,
        attempt=1,
        system="You answer with one word.",
        prompt="Answer with the one word: ready",
    )
