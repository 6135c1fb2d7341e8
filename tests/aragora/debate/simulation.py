"""Debates without agents: answers are a function of the question, time moves on one second per event."""

import json
import random
from collections.abc import Callable, Iterable, Sequence

from aragora.debate import ballots, engine
from aragora.debate.engine import Failure, Purpose, Question, Reply
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.spec import AgentSpec, DebateSpec

Answer = Callable[[Question], Reply | Failure]
Between = Callable[[int], Iterable[Draft]]
LONGEST = 20_000  # plans after which a debate is held to be endless


def spec(count: int = 3, **changes: object) -> DebateSpec:
    values = {
        "question": "Should we adopt event sourcing?",
        "agents": tuple(AgentSpec(f"agent-{number}", "demo") for number in range(1, count + 1)),
        "rounds": 2,
        "timeout": 100_000.0,
    }
    return DebateSpec(**(values | changes))


def nothing(seq: int) -> Iterable[Draft]:
    return ()


def run(
    rules: DebateSpec,
    answer: Answer,
    history: Sequence[Event] = (),
    between: Between = nothing,
    order: random.Random | None = None,
) -> list[Event]:
    """The log to its end. `between` is what people add behind event `seq`; `order` shuffles the answers."""
    log = list(history)

    def append(drafts: Iterable[Draft]) -> None:
        for draft in drafts:
            log.append(Event(len(log) + 1, draft.type, 1000.0 + len(log), draft.round, draft.agent, draft.data))

    for _ in range(LONGEST):
        plan = engine.plan(rules, log, 1000.0 + len(log))
        append(plan.drafts)
        if plan.finished:
            return log
        assert plan.questions
        questions = list(plan.questions)
        if order is not None:
            order.shuffle(questions)
        for question in questions:
            append(between(len(log)))
            append(engine.record(question, answer(question)))
    raise AssertionError("the debate does not end")


def well(question: Question) -> Reply:
    """Everybody keeps an opinion of its own and votes for the first agent."""
    match question.purpose:
        case Purpose.CRITIQUE:
            return critiques(question)
        case Purpose.VOTE | Purpose.JUDGE:
            return vote(question, min(question.choices))
        case Purpose.SYNTHESIZE:
            return Reply(json.dumps({"answer": "Begin small.", "agreements": [], "disputes": [], "minority": ""}))
        case _:
            return Reply(f"{question.purpose} {question.agent.name} " + f"opinion{question.agent.name[-1]} " * 5)


def critiques(question: Question) -> Reply:
    said = {"issues": ["vague"], "suggestions": [], "severity": 4, "reasoning": "because"}
    letters = ballots.labelled(question.choices).values()
    return Reply(json.dumps({"critiques": [{"answer": letter} | said for letter in letters]}))


def vote(question: Question, choice: str, confidence: float = 0.8) -> Reply:
    """For `choice`, or the first answer on the ballot where that is the voter's own."""
    letters = ballots.labelled(question.choices)
    chosen = letters.get(choice, "A")
    ranking = [chosen, *(letter for letter in letters.values() if letter != chosen)]
    said = {"ranking": ranking} if question.ranks else {"choice": chosen}
    return Reply(json.dumps({**said, "confidence": confidence, "reasoning": "the best"}))


def voting(votes: dict[str, str], confidences: dict[str, float] | None = None) -> Answer:
    """As `well`, but each agent votes as it is told."""

    def answer(question: Question) -> Reply:
        if question.purpose in (Purpose.VOTE, Purpose.JUDGE):
            name = question.agent.name
            return vote(question, votes[name], (confidences or {}).get(name, 0.8))
        return well(question)

    return answer


def failing(when: Callable[[Question], bool]) -> Answer:
    """As `well`, but the asks that `when` picks fail."""
    return lambda question: Failure("timeout", "no answer in time") if when(question) else well(question)


def of(log: Sequence[Event], *types: EventType) -> list[Event]:
    return [event for event in log if event.type in types]


def end(log: Sequence[Event]) -> dict:
    assert log[-1].type is EventType.DEBATE_END
    return log[-1].data


def decision(log: Sequence[Event]) -> dict:
    (found,) = of(log, EventType.CONSENSUS)
    return found.data


def shape(log: Sequence[Event]) -> list[str]:
    """The kinds of events in order, repetitions once."""
    kinds = [event.type.value for event in log]
    return [kind for before, kind in zip([None, *kinds], kinds, strict=False) if kind != before]
