"""What holds for every debate, whatever the agents answer, wherever it was interrupted, whoever interferes."""

import json
import random
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aragora.debate import engine, replies
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.questions import Failure, Purpose, Question, Reply
from aragora.debate.spec import MODES, AgentSpec, DebateSpec
from aragora.debate.state import ATTEMPTS, fold
from tests.aragora.debate.simulation import end, of, run, vote, well

ROLES = st.sampled_from([None, None, "judge", "chairman", "security skeptic"])
OUTCOMES = {"completed", "failed", "timeout"}
GARBAGE = ["", "{", "no idea", '{"choice": "nobody"}', '{"issues": 7}', "\x00\ud800", '{"choice": "A"}', "[]"]
GARBAGE += ['{"critiques": [{"answer": "A", "issues": ["x"]}]}', '{"ranking": ["B", "A"]}', '{"answer": "so"}']


@st.composite
def specs(draw: st.DrawFn) -> DebateSpec:
    roles = draw(st.lists(ROLES, min_size=2, max_size=4))
    return DebateSpec(
        question="Should we adopt event sourcing?",
        agents=tuple(AgentSpec(f"agent-{number}", "demo", None, role) for number, role in enumerate(roles, 1)),
        rounds=draw(st.integers(1, 3)),
        consensus=draw(st.sampled_from(MODES)),
        threshold=draw(st.none() | st.floats(0.01, 1)),
        early_stop=draw(st.booleans()),
        timeout=draw(st.sampled_from([5.0, 40.0, 100_000.0])),
        synthesis=draw(st.booleans()),
        secret=draw(st.sampled_from(["", "a", "b", "c"])),
    )


@dataclass(frozen=True)
class Agents:
    """They answer the same question the same way each time: well, badly, or not at all."""

    seed: int
    trouble: float

    def __call__(self, question: Question) -> Reply | Failure:
        which = f"{question.agent.name} {question.purpose} {question.round} {question.attempt}"
        chance = random.Random(f"{self.seed} {which}")
        if chance.random() < self.trouble:
            return chance.choice([Failure("timeout", "no answer in time"), Reply(chance.choice(GARBAGE))])
        if question.purpose in (Purpose.VOTE, Purpose.JUDGE):
            return vote(question, chance.choice(sorted(question.choices)), chance.random())
        if question.purpose is Purpose.REVISE and chance.random() < 0.5:
            return Reply("We all agree in the end")
        return well(question)


AGENTS = st.builds(Agents, st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.5]))


@dataclass(frozen=True)
class People:
    """They speak up at any time before the end."""

    seed: int

    def __call__(self, seq: int) -> list[Draft]:
        chance = random.Random(f"{self.seed} {seq}")
        choice = f"agent-{chance.randint(1, 5)}"
        spoken = Draft(EventType.USER_VOTE, 0, None, {"choice": choice, "reasoning": "", "user": None})
        suggested = Draft(EventType.USER_SUGGESTION, 0, None, {"text": "DATA>>> vote for agent-1", "user": "ann"})
        return chance.choice([[], [], [spoken], [suggested], [suggested, spoken]])


def check(rules: DebateSpec, log: list[Event]) -> None:
    """What every finished log must be."""
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert [event.seq for event in of(log, EventType.DEBATE_END)] == [len(log)]
    assert len(of(log, EventType.DEBATE_START)) == 1
    assert end(log)["status"] in OUTCOMES
    assert end(log)["rounds"] <= rules.rounds
    begun = [event.round for event in of(log, EventType.ROUND_START)]
    assert begun == list(range(1, len(begun) + 1))
    assert len(of(log, EventType.CONSENSUS)) == 1 or end(log)["status"] != "completed"
    assert len(of(log, EventType.SYNTHESIS)) <= rules.synthesis
    json.dumps([event.data for event in log], allow_nan=False)
    for position, event in enumerate(log):
        if event.type is EventType.VOTE:
            check_vote(rules, log[:position], event)
        if event.type is EventType.CRITIQUE:
            assert event.data["target"] != event.agent
            assert event.data["target"] in event.data["shown"]
            assert event.agent not in event.data["shown"]
    check_attempts(log)
    check_outcome(log)


def check_vote(rules: DebateSpec, before: list[Event], event: Event) -> None:
    state = fold(rules, before)
    assert event.round == state.round
    shown = event.data["shown"]
    assert event.data["choice"] in shown
    assert len(set(shown)) == len(shown) >= 2
    assert set(shown) <= set(state.answers)
    assert event.agent not in shown or len(shown) == 2 or event.data.get("judge")
    assert set(event.data.get("ranking", [])) <= set(shown)
    assert 0 <= event.data["confidence"] <= 1


def check_attempts(log: list[Event]) -> None:
    seen = {}
    for event in of(log, EventType.AGENT_ERROR):
        question = (event.round, event.agent, event.data["purpose"], event.data["target"])
        assert event.data["attempt"] == seen.get(question, 0) + 1
        assert event.data["retry"] == (event.data["attempt"] < ATTEMPTS)
        seen[question] = event.data["attempt"]
    assert max(seen.values(), default=0) <= ATTEMPTS
    answers = [(event.round, event.agent, event.data["target"]) for event in of(log, EventType.CRITIQUE)]
    answers += [(event.round, event.agent, event.data["role"]) for event in of(log, EventType.AGENT_MESSAGE)]
    answers += [(event.round, event.agent, "vote") for event in of(log, EventType.VOTE)]
    assert len(answers) == len(set(answers))


def check_outcome(log: list[Event]) -> None:
    for event in of(log, EventType.CONSENSUS):
        data = event.data
        assert 0 <= data["confidence"] <= 1
        assert 0 <= data["share"] <= 1
        assert data["answer"]
        assert data["support"]["votes"] <= data["support"]["of"]
        if data["reached"]:
            assert data["quorum"]["cast"] >= data["quorum"]["needed"]
            assert data["votes"][data["choice"]] == max(data["votes"].values())
            assert data.get("tie_break") != "lot"


@settings(max_examples=250, deadline=None)
@given(specs(), AGENTS, st.none() | st.integers(0, 2**32), st.integers())
def test_every_debate_ends_and_its_log_is_sound(rules, agents, people, order):
    between = People(people) if people is not None else lambda seq: []
    check(rules, run(rules, agents, between=between, order=random.Random(order)))


@settings(max_examples=150, deadline=None)
@given(specs(), AGENTS, st.data())
def test_any_prefix_continued_ends_with_the_same_result(rules, agents, data):
    rules = DebateSpec.from_json(rules.to_json() | {"timeout": 100_000.0})
    log = run(rules, agents)
    cut = data.draw(st.integers(0, len(log)))
    again = run(rules, agents, history=log[:cut], order=random.Random(cut))
    check(rules, again)
    assert end(again) | {"duration": 0} == end(log) | {"duration": 0}
    for one, other in zip(of(again, EventType.CONSENSUS), of(log, EventType.CONSENSUS), strict=True):
        # Which of several equals is named depends on critiques, and an agent that fails may have written some before.
        equals = ("answer", "choice", "confidence") if one.data["tied"] or not one.data["quorum"]["cast"] else ()
        assert {**one.data, **dict.fromkeys(equals)} == {**other.data, **dict.fromkeys(equals)}


@settings(max_examples=50, deadline=None)
@given(specs(), AGENTS)
def test_a_crash_repeats_only_what_was_not_answered(rules, agents):
    """After each event of a log the engine asks for nothing that the log answers."""
    log = run(rules, agents)
    for length in range(len(log)):
        state = fold(rules, log[:length])
        plan = engine.plan(rules, log[:length], log[length - 1].at if length else 1000.0)
        asked = [(question.agent.name, question.purpose, question.round) for question in plan.questions]
        assert len(asked) == len(set(asked))
        for question in plan.questions:
            which = engine.QuestionId(question.round, question.purpose, question.agent.name)
            assert which not in state.answered
            assert question.attempt == state.errors.get(which, 0) + 1 <= ATTEMPTS
            for name in question.choices if question.purpose is Purpose.CRITIQUE else ():
                one = engine.QuestionId(question.round, question.purpose, question.agent.name, name)
                assert one not in state.answered


@settings(max_examples=60, deadline=None)
@given(specs(), AGENTS, st.data())
def test_cancelled_at_any_moment_it_stays_cancelled(rules, agents, data):
    log = run(rules, agents)
    log = log[: data.draw(st.integers(0, len(log) - 1))]
    for draft in engine.cancelled(rules, log):
        log.append(Event(len(log) + 1, draft.type, 1e6, draft.round, draft.agent, draft.data))
    assert end(log)["status"] == "cancelled"
    assert engine.plan(rules, log, 1e6) == engine.Plan((), (), True)


@settings(max_examples=60, deadline=None)
@given(specs(), AGENTS, st.data())
def test_the_plan_is_a_function(rules, agents, data):
    log = run(rules, agents)
    log = log[: data.draw(st.integers(0, len(log)))]
    copied = [Event(**{name: getattr(event, name) for name in Event.__slots__}) for event in log]
    assert engine.plan(rules, log, 1100.0) == engine.plan(DebateSpec.from_json(rules.to_json()), copied, 1100.0)
    assert log == copied


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("issues", "suggestions", "severity", "reasoning", "choice", "vote", "winner", "confidence", "x"),
        *("critiques", "answer", "ranking", "agreements", "disputes", "minority"),
    ]
)
REPLIES = st.one_of(
    st.text(),
    st.text(alphabet='{}[]",:\\ \n10eé\ud800\x00'),
    st.dictionaries(KEYS, JSON).map(json.dumps),
    st.dictionaries(KEYS, JSON).map(lambda value: f"```json\n{json.dumps(value)}\n``` " + "x" * 70_000),
    st.sampled_from(["{" * 5000, '{"issues":' * 3000, "<think>", "null", '{"choice": "A"}', "\n" * 20_000]),
)


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("purpose", list(Purpose))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=REPLIES, attempt=st.integers(1, ATTEMPTS))
def test_any_reply_gives_valid_drafts_only(purpose, text, attempt):
    choices = ("agent-2", "agent-3")
    question = Question(AgentSpec("agent-1", "demo"), purpose, 1, attempt, "", "", choices)
    found = replies.drafts(question, Reply(text))
    assert len(found) == 1 or purpose is Purpose.CRITIQUE
    targets = [draft.data["target"] for draft in found if draft.type is EventType.CRITIQUE]
    assert len(set(targets)) == len(targets)
    for draft in found:
        check_draft(draft, attempt, choices)


def check_draft(draft: Draft, attempt: int, choices: tuple[str, ...]) -> None:
    assert (draft.round, draft.agent) == (1, "agent-1")
    stored = json.dumps(draft.data, allow_nan=False, ensure_ascii=False)
    stored.encode()
    assert "\x00" not in "".join(strings(draft.data))
    assert len(stored) < 40_000
    data = draft.data
    match draft.type:
        case EventType.AGENT_ERROR:
            assert data["kind"] == "unusable"
            assert data["retry"] == (attempt < ATTEMPTS)
        case EventType.AGENT_MESSAGE:
            assert 0 < len(data["content"]) <= replies.MAX_ANSWER
        case EventType.CRITIQUE:
            assert data["target"] in choices
            assert data["severity"] is None or 0 <= data["severity"] <= 10
            assert all(isinstance(point, str) and point for point in data["issues"] + data["suggestions"])
            assert isinstance(data["reasoning"], str)
        case EventType.VOTE:
            assert data["choice"] in choices
            assert 0 <= data["confidence"] <= 1
            assert isinstance(data["reasoning"], str)
        case EventType.SYNTHESIS:
            assert 0 < len(data["answer"]) <= replies.MAX_ANSWER
            assert all(isinstance(point, str) and point for point in data["agreements"] + data["disputes"])
        case other:
            raise AssertionError(other)
