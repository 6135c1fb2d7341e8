"""What questions wait for, as the log of a debate tells it."""

from collections.abc import Callable

import pytest

from aragora.agents import AgentFailed, Waiting
from aragora.debate.events import EventType
from aragora.debate.questions import Question
from aragora.runner import waits
from aragora.runner.waits import AGAIN, GRACE, Waits
from aragora.service import NewDebate
from tests.aragora.runner.conftest import Parts
from tests.waiting import until

Start = Callable[..., Parts]


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_short_waits_are_nobodys_business() -> None:
    told: list[Waiting] = []
    clock = Seconds()
    tell = Waits(told.append, clock)
    tell(Waiting(1, "first in line"))
    clock.now += GRACE / 2
    tell(Waiting(1, "first in line"))
    assert told == []


def test_a_long_wait_is_told_when_it_changes_and_not_too_often() -> None:
    told: list[Waiting] = []
    clock = Seconds()
    tell = Waits(told.append, clock)
    for second in range(2 * int(AGAIN) + 3):
        clock.now = float(second)
        place = max(1, 40 - second)
        tell(Waiting(place, f"number {place}"))
    assert [waiting.place for waiting in told] == [39, 24, 9]
    clock.now += 100
    tell(told[-1])
    assert len(told) == 3, "it has not changed"


def test_the_log_tells_what_a_question_waits_for(process: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "GRACE", 0.0)
    here = process()
    here.agent.waits = lambda question: [Waiting(3, "third in line for Ollama server")]
    record = here.debates.create(
        NewDebate.parse({"question": "Should we begin small?", "agents": ["demo"] * 2, "rounds": 1})
    )
    until(lambda: here.debates.get(record.id).ended)
    events = here.debates.events(record.id)
    told = [event for event in events if event.type is EventType.AGENT_WAITING]
    assert {event.agent for event in told} == {"demo-1", "demo-2"}
    assert told[0].data["place"] == 3
    assert told[0].data["message"] == "third in line for Ollama server"
    assert {event.data["purpose"] for event in told} >= {"propose", "critique", "revise", "vote"}
    assert here.debates.get(record.id).status == "completed"


def test_what_cannot_succeed_is_asked_once(process: Start) -> None:
    here = process()

    def refuse(question: Question) -> Exception | None:
        return AgentFailed("auth", "the key is not taken", final=True) if question.agent.name == "demo-1" else None

    here.agent.failure = refuse
    record = here.debates.create(
        NewDebate.parse({"question": "Should we begin small?", "agents": ["demo"] * 3, "rounds": 1})
    )
    until(lambda: here.debates.get(record.id).ended)
    asked = [question for question in here.agent.calls if question.agent.name == "demo-1"]
    errors = [event for event in here.debates.events(record.id) if event.type is EventType.AGENT_ERROR]
    assert len(asked) == len(errors) == 1
    assert errors[0].data["retry"] is False
    assert here.debates.get(record.id).status == "completed", "two others are left"
