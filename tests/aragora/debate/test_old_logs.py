"""Debates that an older version wrote are read, continued wherever they stopped, and end as they should."""

import json
from pathlib import Path

import pytest

from aragora.debate import engine
from aragora.debate.events import Event, EventType
from aragora.debate.questions import Purpose
from aragora.debate.spec import DebateSpec
from aragora.debate.state import fold
from tests.aragora.debate.simulation import decision, end, of, run, well

LOGS = sorted((Path(__file__).parent / "logs").glob("*.json"))


def stored(path: Path) -> tuple[DebateSpec, list[Event]]:
    found = json.loads(path.read_text())
    events = [Event(**{**event, "type": EventType(event["type"])}) for event in found["events"]]
    return DebateSpec.from_json(found["spec"]), events


@pytest.mark.parametrize("path", LOGS, ids=[path.stem for path in LOGS])
def test_an_old_log_is_read_as_it_stands(path):
    rules, log = stored(path)
    state = fold(rules, log)
    assert state.ended
    assert state.final_answer
    assert len(state.critiques) == len(of(log, EventType.CRITIQUE))
    assert engine.plan(rules, log, 1e6).finished


@pytest.mark.parametrize("path", LOGS, ids=[path.stem for path in LOGS])
def test_an_old_log_is_continued_after_any_event(path):
    rules, log = stored(path)
    for length in range(len(log)):
        asked = []

        def answer(question, asked=asked):
            asked.append(question)
            return well(question)

        continued = run(rules, answer, history=log[:length])
        assert continued[:length] == log[:length]
        assert end(continued)["status"] == "completed"
        assert decision(continued)["answer"]
        answers = [(event.round, event.agent, event.data["target"]) for event in of(continued, EventType.CRITIQUE)]
        assert len(answers) == len(set(answers))
        before = fold(rules, log[:length])
        for question in asked:
            if question.purpose is Purpose.CRITIQUE and question.round == before.round:
                done = {critique.target for critique in before.critiques if critique.agent == question.agent.name}
                current = {
                    critique.target
                    for critique in before.critiques
                    if critique.agent == question.agent.name and critique.round == question.round
                }
                assert current.isdisjoint(question.choices)
                assert done >= current


def test_votes_of_an_old_log_count_as_they_did():
    rules, log = stored(Path(__file__).parent / "logs" / "majority.json")
    cut = next(index for index, event in enumerate(log) if event.type is EventType.CONSENSUS)
    plan = engine.plan(rules, log[:cut], log[cut].at)
    found, before = plan.drafts[0].data, log[cut].data
    for name in ("reached", "choice", "answer", "share", "confidence", "votes", "quorum", "tied"):
        assert found[name] == before[name], name
