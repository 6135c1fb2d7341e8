"""Participants whose behaviour a test decides; they keep the contract of `aragora.agents.Agent`."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from aragora.agents import AgentFailed, Waiting
from aragora.agents.agent import unwatched
from aragora.debate.ballots import labelled
from aragora.debate.engine import Purpose, Question, Reply
from aragora.debate.spec import AgentSpec
from aragora.debate.usage import Usage

TICK = 0.01


class Scripted:
    """Answers like the demo, at once; counts its calls, waits or fails when told to."""

    def __init__(self) -> None:
        self.calls: list[Question] = []
        self.broken_off = 0
        self.usage: Usage | None = None
        self.called = threading.Event()
        self.hold = threading.Event()
        self.hold.set()
        self.failure: Callable[[Question], Exception | None] = lambda question: None
        self.waits: Callable[[Question], Iterable[Waiting]] = lambda question: ()
        self._lock = threading.Lock()

    def build(self, spec: AgentSpec, environ: Mapping[str, str]) -> "Scripted":
        """One object plays every participant."""
        return self

    def ask(
        self,
        question: Question,
        on_token: Callable[[str], None],
        deadline: float,
        on_wait: Callable[[Waiting], None] = unwatched,
    ) -> Reply:
        for waiting in self.waits(question):
            on_wait(waiting)
        with self._lock:
            self.calls.append(question)
        self.called.set()
        failure = self.failure(question)
        if failure is not None:
            raise failure
        try:
            while not self.hold.wait(TICK):
                on_token("word ")
                if time.time() > deadline:
                    raise AgentFailed("timeout", "out of time")
        except AgentFailed:
            raise
        except Exception:
            with self._lock:
                self.broken_off += 1
            raise
        text = answer(question)
        on_token(text)
        return Reply(text, usage=self.usage)


def answer(question: Question) -> str:
    if question.purpose is Purpose.CRITIQUE:
        said = {"issues": ["vague"], "suggestions": ["measure it"], "severity": 4, "reasoning": "no figures"}
        letters = labelled(question.choices).values()
        return json.dumps({"critiques": [{"answer": letter} | said for letter in letters]})
    if question.purpose in (Purpose.VOTE, Purpose.JUDGE):
        choice = labelled(question.choices)[min(question.choices)]
        return json.dumps({"choice": choice, "confidence": 0.8, "reasoning": "the clearest"})
    return f"{question.agent.name} proposes to measure it first, in round {question.round}."
