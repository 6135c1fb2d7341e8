"""One question put in four ways: alone, many times with a majority, and to a debate, whose first answers are one more.

The debate goes first, since what it takes is the budget of the many: the model is asked again and again until the next
answer would cost more than the debate did (in money; in tokens where they cost nothing; in questions where nothing is
counted). The first of those answers is the one of the model alone.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum

from aragora.agents import Agent, AgentFailed
from aragora.agents.metering import Bill, Meter
from aragora.debate import engine
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.questions import Failure, Purpose, Question, Reply
from aragora.debate.spec import AgentSpec, DebateSpec
from aragora.debate.state import Role
from aragora.debate.usage import Usage
from aragora.evaluation.cases import Case, final, key

MOST_SAMPLES = 64
_TOLD = "Answer the question. Think it through step by step before you commit yourself; at most 400 words."


class Method(StrEnum):
    """How a question was put."""

    ALONE = "one model, once"
    MAJORITY = "one model, majority"
    FIRST = "debate, first answers"
    DEBATE = "debate"


@dataclass(slots=True)
class Spent:
    """What was asked and what it took; `cost` in microdollars, `seconds` as a user would have waited."""

    questions: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: int = 0
    seconds: float = 0.0

    def add(self, bill: Bill) -> None:
        """One answer more."""
        self.questions += 1
        self.usage += bill.usage
        self.cost += bill.cost

    def measure(self, like: "Spent") -> float:
        """By what `like` counts: money, else tokens, else questions."""
        return float(self.cost if like.cost else self.usage.total if like.usage.total else self.questions)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method gave, None for no short answer, and whether that was right. `failed` says why nothing came."""

    given: str | None
    right: bool
    spent: Spent
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One case by every method."""

    case: Case
    outcomes: Mapping[Method, Outcome]


class Evaluator:
    """Puts cases; `build` makes agents, `debate` are the rules (its question is replaced), `alone` is asked alone.

    `samples` fixes how often that one is asked; None: as often as the debate's budget allows. Raises AgentFailed where
    no agent can be asked at all.
    """

    def __init__(
        self,
        build: Callable[[AgentSpec], Agent],
        meter: Meter,
        debate: DebateSpec,
        alone: AgentSpec,
        samples: int | None = None,
    ) -> None:
        self._agents = {agent.name: build(agent) for agent in debate.agents}
        self._single = build(alone)
        self._meter = meter
        self._rules = debate
        self._alone = alone
        self._samples = samples

    def compare(self, case: Case) -> Comparison:
        """One case by every method, one after the other."""
        history, debate, first = self._debate(case)
        answers, spents, failed = self._sample(case, debate)
        outcomes = {
            Method.ALONE: _outcome(case, answers[:1], spents[0], failed),
            Method.MAJORITY: _outcome(case, answers, _sum(spents), failed),
            Method.FIRST: _outcome(case, _first_answers(history), first, None),
            Method.DEBATE: _outcome(case, _verdict(history), debate, _reason(history)),
        }
        return Comparison(case, outcomes)

    def _debate(self, case: Case) -> tuple[list[Event], Spent, Spent]:
        """Its log; what all of it took, and what its first answers did."""
        rules = replace(self._rules, question=case.asked)
        whole, first = Spent(), Spent()
        began = time.time()
        history: list[Event] = []

        def add(drafts: Sequence[Draft]) -> None:
            for draft in drafts:
                seq = len(history) + 1
                history.append(Event(seq, draft.type, time.time(), draft.round, draft.agent, draft.data))

        with ThreadPoolExecutor(len(rules.agents)) as threads:
            while True:
                plan = engine.plan(rules, history, time.time())
                add(plan.drafts)
                if plan.finished:
                    break
                deadline = engine.deadline(rules, history) or 0.0

                def put(question: Question, deadline: float = deadline) -> Reply | Failure:
                    return _answer(self._agents[question.agent.name], question, deadline)

                for question, result in zip(plan.questions, threads.map(put, plan.questions), strict=True):
                    bill = self._bill(question, result)
                    whole.add(bill)
                    if question.purpose is Purpose.PROPOSE:
                        first.add(bill)
                        first.seconds = time.time() - began
                    add(engine.record(question, result))
        whole.seconds = time.time() - began
        return history, whole, first

    def _sample(self, case: Case, debate: Spent) -> tuple[list[str], list[Spent], str | None]:
        """The answers of the one that is asked alone, what each took, and why the last one did not come."""
        question = Question(self._alone, Purpose.PROPOSE, 1, 1, system=_TOLD, prompt=case.asked)
        answers: list[str] = []
        spents: list[Spent] = []
        failed = None
        while len(spents) < (self._samples or MOST_SAMPLES):
            began = time.time()
            result = _answer(self._single, question, began + self._rules.timeout)
            spent = Spent(seconds=0.0)
            spent.add(self._bill(question, result))
            spent.seconds = time.time() - began
            spents.append(spent)
            if isinstance(result, Failure):
                failed = result.message
                if result.final:
                    raise AgentFailed(result.kind, result.message, final=True)
            else:
                answers.append(result.text)
            if self._samples is None and self._is_spent(spents, debate):
                break
        return answers, spents, None if answers else failed

    def _is_spent(self, spents: Sequence[Spent], debate: Spent) -> bool:
        """Whether one answer more, of the usual price, would take more than the debate did."""
        total = _sum(spents).measure(debate)
        return total + total / len(spents) > debate.measure(debate)

    def _bill(self, question: Question, result: Reply | Failure) -> Bill:
        if not self._meter.is_counted(question.agent):
            return Bill(Usage(), 0)
        return self._meter.bill(question, result)


def _answer(agent: Agent, question: Question, deadline: float) -> Reply | Failure:
    try:
        return agent.ask(question, lambda _text: None, deadline)
    except AgentFailed as error:
        return Failure(error.kind, error.message, error.usage, error.final)


def _sum(spents: Sequence[Spent]) -> Spent:
    total = Spent()
    for spent in spents:
        total.questions += spent.questions
        total.usage += spent.usage
        total.cost += spent.cost
        total.seconds += spent.seconds
    return total


def _outcome(case: Case, answers: Sequence[str], spent: Spent, failed: str | None) -> Outcome:
    """By the short answer that most of `answers` give, the earliest of several."""
    given = [short for answer in answers if (short := final(answer)) is not None]
    counted = Counter(key(short) for short in given)
    best = max(given, key=lambda short: counted[key(short)], default=None)
    return Outcome(best, case.is_right(best), spent, None if answers else failed)


def _first_answers(history: Sequence[Event]) -> list[str]:
    said = [event for event in history if event.type is EventType.AGENT_MESSAGE and event.round == 1]
    return [event.data["content"] for event in said if event.data["role"] == Role.PROPOSER]


def _verdict(history: Sequence[Event]) -> list[str]:
    found = [event.data["answer"] for event in history if event.type is EventType.CONSENSUS]
    return [answer for answer in found if answer]


def _reason(history: Sequence[Event]) -> str | None:
    reason: str | None = history[-1].data.get("reason")
    return reason
