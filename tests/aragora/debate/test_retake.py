"""What stands of a debate when its failed parts are asked again, and what another debate is told of it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from aragora.debate import engine
from aragora.debate.background import LONGEST, background
from aragora.debate.engine import Failure, Purpose, Question, Reply
from aragora.debate.events import Event, EventType
from aragora.debate.retake import retaken
from aragora.debate.spec import AgentSpec, DebateSpec
from tests.aragora.runner.agents import answer

AGENTS = tuple(AgentSpec(name, "demo") for name in ("Ann", "Bob", "Cid"))
SPEC = DebateSpec("Should we adopt event sourcing?", AGENTS, rounds=2, early_stop=False)
Fails = Callable[[Question], bool]


def held(
    fails: Fails = lambda question: False, spec: DebateSpec = SPEC, history: list[Event] | None = None
) -> list[Event]:
    """The log of a debate in which these questions fail."""
    history = history or []
    while not history or history[-1].type is not EventType.DEBATE_END:
        plan = engine.plan(spec, history, 0.0)
        drafts = list(plan.drafts)
        for question in plan.questions:
            reply = Failure("server", "away") if fails(question) else Reply(answer(question))
            drafts += engine.record(question, reply)
        for draft in drafts:
            history.append(Event(len(history) + 1, draft.type, 0.0, draft.round, draft.agent, draft.data))
    return history


def again(history: list[Event]) -> list[Event]:
    """The log that another debate begins with."""
    kept = retaken(SPEC, history)
    assert kept is not None
    start = engine.plan(SPEC, (), 0.0).drafts[:1]
    return [
        Event(seq, draft.type, 0.0, draft.round, draft.agent, draft.data)
        for seq, draft in enumerate((*start, *kept), 1)
    ]


def count(history: list[Event], kind: EventType) -> int:
    return sum(event.type is kind for event in history)


def test_nothing_is_asked_again_where_nothing_failed() -> None:
    assert retaken(SPEC, held()) is None


@pytest.mark.parametrize("purpose", [Purpose.PROPOSE, Purpose.CRITIQUE, Purpose.REVISE, Purpose.VOTE])
@pytest.mark.parametrize("number", [1, 2])
def test_a_debate_goes_on_where_it_first_failed(purpose: Purpose, number: int) -> None:
    if (purpose, number) in ((Purpose.PROPOSE, 2), (Purpose.VOTE, 1)):
        pytest.skip("not asked then")
    history = held(lambda question: (question.purpose, question.round, question.agent.name) == (purpose, number, "Bob"))
    begun = again(history)
    assert not {EventType.AGENT_ERROR, EventType.CONSENSUS, EventType.DEBATE_END} & {event.type for event in begun}
    first = engine.plan(SPEC, begun, 0.0).questions
    assert {(question.purpose, question.agent.name) for question in first} == {(purpose, "Bob")}
    assert {question.round for question in first} == {number}
    whole = held(history=begun)
    assert count(whole, EventType.AGENT_ERROR) == 0
    assert count(whole, EventType.AGENT_MESSAGE) == count(held(), EventType.AGENT_MESSAGE)
    assert whole[-1].data["status"] == "completed"


def test_a_failed_debate_goes_on() -> None:
    history = held(lambda question: question.agent.name != "Ann")
    assert history[-1].data["status"] == "failed"
    begun = again(history)
    assert count(begun, EventType.AGENT_MESSAGE) == 1
    assert held(history=begun)[-1].data["status"] == "completed"


def test_a_debate_that_was_cut_short_loses_nothing_that_was_said() -> None:
    history: list[Event] = []
    spec = replace(SPEC, timeout=10)
    for now in (0.0, 0.0, 20.0):
        plan = engine.plan(spec, history, now)
        drafts = [*plan.drafts]
        for question in plan.questions:
            drafts += engine.record(question, Reply(answer(question)))
        for draft in drafts:
            history.append(Event(len(history) + 1, draft.type, now, draft.round, draft.agent, draft.data))
    assert history[-1].data["status"] == "timeout"
    begun = again(history)
    assert count(begun, EventType.AGENT_MESSAGE) == count(history, EventType.AGENT_MESSAGE)
    assert held(history=begun)[-1].data["status"] == "completed"


def test_retake_keeps_people_and_counts_no_tokens_twice() -> None:
    history = held(lambda question: question.purpose is Purpose.VOTE and question.agent.name == "Bob")
    history = [
        replace(event, data=event.data | {"usage": {"input": 5}}) if event.type is EventType.AGENT_MESSAGE else event
        for event in history
    ]
    history.insert(-1, Event(len(history), EventType.USER_SUGGESTION, 0.0, 2, None, {"text": "measure", "user": None}))
    begun = again(history)
    assert not any("usage" in event.data for event in begun)
    assert count(begun, EventType.USER_SUGGESTION) == 1


def test_follow_up_gets_outcome_objections_and_other_answers() -> None:
    told = background(SPEC, held())
    for words in (SPEC.question, "Its agents", "vague", "proposes to measure it first"):
        assert words in told
    assert "no result" in background(SPEC, held(lambda question: True))


def test_what_another_debate_is_told_is_bounded() -> None:
    history = held()
    history = [
        replace(event, data=event.data | {"content": "x" * 12_000}) if event.type is EventType.AGENT_MESSAGE else event
        for event in history
    ]
    assert len(background(SPEC, history)) <= LONGEST
