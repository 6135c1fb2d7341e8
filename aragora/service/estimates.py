"""What a debate will take, as far as that can be told before it begins.

The debate is gone through in full, every round and every vote, by the engine itself, with answers of typical
length that never agree. So no debate asks more questions unless answers fail and are asked for again, and tokens and
money are as near as typical lengths are.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from aragora.agents.metering import Meter
from aragora.agents.prices import MICRODOLLARS
from aragora.debate import engine
from aragora.debate.ballots import labelled
from aragora.debate.engine import Purpose, Question, Reply
from aragora.debate.events import Draft, Event
from aragora.debate.spec import Budget, DebateSpec
from aragora.debate.usage import Usage

LENGTH = 2400  # characters of prose: 400 words are asked for
_SENTENCE = "It says what it costs, and not what happens when the first step does not go as it should. "


@dataclass(frozen=True, slots=True)
class Estimate:
    """At most so many questions, and about so much usage; `cost` in microdollars.

    `assumed` are the models, as `type/model`, whose price is not in the table. `checked` says when the table was.
    `budget` is what the debate may take in any case.
    """

    questions: int
    usage: Usage
    cost: int
    assumed: tuple[str, ...]
    checked: str
    budget: Budget

    @property
    def summary(self) -> str:
        """In one line."""
        if not self.usage.total:
            return f"at most {self.questions} questions, which cost nothing"
        tokens = _rounded(self.usage.total)
        return f"at most {self.questions} questions, about {tokens:,} tokens, {self.cost / MICRODOLLARS:.2f} $"


def estimate(spec: DebateSpec, meter: Meter) -> Estimate:
    """What `spec` will take."""
    asked = list(_questions(spec))
    counted = [(question, reply) for question, reply in asked if meter.is_counted(question.agent)]
    bills = [meter.bill(question, reply) for question, reply in counted]
    models = {f"{agent.type}/{meter.model(agent)}": meter.price(agent) for agent in spec.agents}
    return Estimate(
        questions=len(asked),
        usage=sum((bill.usage for bill in bills), Usage()),
        cost=sum(bill.cost for bill in bills),
        assumed=tuple(name for name, price in models.items() if price.assumed),
        checked=meter.checked,
        budget=spec.budget,
    )


def _questions(spec: DebateSpec) -> Iterator[tuple[Question, Reply]]:
    """Every question of the whole debate, with an answer that keeps it going; the clock stands still."""
    history: list[Event] = []

    def add(drafts: tuple[Draft, ...]) -> None:
        for draft in drafts:
            history.append(Event(len(history) + 1, draft.type, 0.0, draft.round, draft.agent, draft.data))

    while True:
        plan = engine.plan(spec, history, 0.0)
        add(plan.drafts)
        if plan.finished:
            return
        for question in plan.questions:
            reply = _typical(question)
            yield question, reply
            add(engine.record(question, reply))
            time.sleep(0)  # a large debate takes a third of a second, in which others are served


def _typical(question: Question) -> Reply:
    letters = labelled(question.choices)
    match question.purpose:
        case Purpose.PROPOSE | Purpose.REVISE:
            word = f"{question.agent.name} "
            return Reply(word * (LENGTH // len(word)))
        case Purpose.CRITIQUE:
            points = {"reasoning": _SENTENCE, "issues": [_SENTENCE] * 3, "suggestions": [_SENTENCE] * 3, "severity": 5}
            found: object = {"critiques": [{"answer": letter} | points for letter in letters.values()]}
        case Purpose.VOTE | Purpose.JUDGE:
            first = letters[_next(question)]
            ranking = [first, *(letter for letter in letters.values() if letter != first)]
            choice = {"ranking": ranking} if question.ranks else {"choice": first}
            found = {"reasoning": _SENTENCE * 2, **choice, "confidence": 0.8}
        case Purpose.SYNTHESIZE:
            points = {"agreements": [_SENTENCE] * 3, "disputes": [_SENTENCE] * 3, "minority": _SENTENCE * 2}
            found = {"answer": _SENTENCE * 15, **points}
    return Reply(json.dumps(found))


def _next(question: Question) -> str:
    """The author of the chosen answer: the next agent by name, so that no agent has most votes; of two its own."""
    own = question.agent.name
    if own in question.choices:
        return own
    return min((name for name in question.choices if name > own), default=min(question.choices))


def _rounded(tokens: int) -> int:
    """To two figures, as it is known."""
    step = int(10 ** max(0, len(str(tokens)) - 2))
    return (tokens + step // 2) // step * step
