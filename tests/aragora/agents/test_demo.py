"""The offline demo: what it says, how debates between its agents go, how it streams."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aragora.agents import AgentFailed, build
from aragora.agents.demo import MODEL, PIECES, STUMBLING, DemoAgent, delay
from aragora.debate.events import EventType
from aragora.debate.questions import Kind, Passage, Purpose, Question, Reply
from aragora.debate.spec import AgentSpec
from tests.aragora.agents.debates import FOREVER, OFFLINE, QUESTION, agents, debate, of, proposal


def said(question: Question) -> str:
    return build(question.agent, OFFLINE).ask(question, lambda text: None, FOREVER).text


def test_default_debate_moves_from_dispute_to_agreement():
    history = debate()
    first = {event.data["choice"] for event in of(history, EventType.VOTE, 1)}
    assert len(first) > 2
    similarity = [event.data["similarity"] for event in of(history, EventType.CONVERGENCE)]
    assert similarity == sorted(similarity)
    assert similarity[0] < 0.6 < 0.85 <= similarity[-1]
    severities = [event.data["severity"] for event in of(history, EventType.CRITIQUE)]
    assert max(severities) >= 8
    assert min(severities) <= 3
    outcome = of(history, EventType.CONSENSUS)[0].data
    assert outcome["reached"]
    assert outcome["support"]["votes"] == outcome["support"]["of"]
    assert history[-1].data["status"] == "completed"


@pytest.mark.parametrize("question", [QUESTION, "Should we adopt event sourcing?", "Tabs or spaces?"])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_the_last_round_of_a_demo_decides(question: str, rounds: int):
    outcome = of(debate(question=question, rounds=rounds), EventType.CONSENSUS)[0].data
    assert outcome["reached"], outcome


def test_demo_debate_has_every_unattended_event_type():
    people_and_failures = {
        EventType.USER_VOTE,
        EventType.USER_SUGGESTION,
        EventType.AGENT_ERROR,
        EventType.AGENT_WAITING,
    }
    assert {event.type for event in debate(synthesis=True)} == set(EventType) - people_and_failures


def test_stumbling_agent_shows_a_repeated_question():
    clumsy = AgentSpec("demo-2", "demo", model=STUMBLING)
    history = debate(participants=(AgentSpec("demo-1", "demo"), clumsy))
    assert {event.agent for event in of(history, EventType.AGENT_ERROR)} == {"demo-2"}
    assert {event.agent for event in of(history, EventType.CRITIQUE, 1)} == {"demo-1", "demo-2"}


@pytest.mark.parametrize("consensus", ["majority", "supermajority", "unanimous", "weighted", "borda", "judge"])
@pytest.mark.parametrize("number", [3, 4])
def test_a_default_debate_comes_to_a_decision_by_every_rule(consensus, number):
    outcome = of(debate(participants=agents(number), consensus=consensus), EventType.CONSENSUS)[0].data
    assert outcome["reached"], outcome


@pytest.mark.parametrize("number", [2, 3, 5, 6, 7, 10])
def test_a_majority_is_found_among_any_number_of_agents(number):
    assert of(debate(participants=agents(number)), EventType.CONSENSUS)[0].data["reached"]


def test_a_debate_is_the_same_on_every_run():
    assert debate() == debate()


def test_agents_change_their_minds_under_critique_and_say_so():
    messages = [event.data["content"] for event in of(debate(), EventType.AGENT_MESSAGE) if event.agent == "demo-1"]
    assert messages[0].startswith("Yes: adopt event sourcing.")
    assert messages[-1].startswith("On trial: adopt event sourcing")
    assert "I gave up my first answer" in messages[-1]


def test_every_answer_says_that_it_is_the_demo_and_no_model():
    for event in debate():
        if event.type is EventType.AGENT_MESSAGE:
            assert "offline demo" in event.data["content"]
            assert "no language model" in event.data["content"]
            assert event.data["model"] == MODEL
        if event.type in (EventType.CRITIQUE, EventType.VOTE):
            assert "offline demo" in event.data["reasoning"]


def test_six_agents_say_six_different_things():
    assert len({said(proposal(agent)) for agent in agents(6)}) == 6


def test_no_answer_says_who_wrote_it():
    for event in debate(synthesis=True):
        if event.type in (EventType.AGENT_MESSAGE, EventType.CRITIQUE, EventType.VOTE):
            said = " ".join(str(event.data.get(name)) for name in ("content", "reasoning", "issues", "suggestions"))
            assert "demo-" not in said


def test_names_without_a_number_are_agents_too():
    history = debate(participants=(AgentSpec("Ada", "demo"), AgentSpec("Bo 7x", "demo"), AgentSpec("Çelik", "demo")))
    assert history[-1].data["status"] == "completed"


def test_context_standpoint_and_peoples_suggestions_are_taken_up():
    passages = (
        Passage(Kind.CONTEXT, "We are three people and a dog."),
        Passage(Kind.STANDPOINT, "a cautious accountant"),
        Passage(Kind.SUGGESTION, "Think of the dog"),
    )
    answer = said(proposal(AgentSpec("demo-1", "demo"), QUESTION, *passages))
    assert "We are three people and a dog." in answer
    assert "arguing as a cautious accountant" in answer
    assert "“Think of the dog”" in answer


def revision(agent: AgentSpec, own: str, *critiques: Passage, number: int = 1) -> Question:
    passages = (Passage(Kind.QUESTION, QUESTION), Passage(Kind.OWN, own, agent.name), *critiques)
    return Question(agent, Purpose.REVISE, number, 1, "", "", passages=passages)


def test_what_other_kinds_of_agents_suggest_is_quoted_and_kept():
    agent = AgentSpec("demo-1", "demo")
    own = said(proposal(agent))
    critic = Passage(Kind.CRITIQUE, "severity 7 of 10\n- suggestion: Measure “cost” first", "gpt")
    once = said(revision(agent, own, critic))
    assert "Taken up: “Measure 'cost' first”." in once
    again = said(revision(agent, once, critic))
    assert again.count("Taken up:") == 1


def test_nobody_moves_without_critique():
    agent = AgentSpec("demo-1", "demo")
    own = said(proposal(agent))
    assert said(revision(agent, own, number=3)).startswith("Yes: adopt event sourcing.")


def test_demo_criticises_and_votes_for_other_agents():
    agent = AgentSpec("demo-1", "demo")
    passages = (Passage(Kind.QUESTION, QUESTION), Passage(Kind.ANSWER, "It depends on many things.", "gpt", "A"))
    critique = Question(agent, Purpose.CRITIQUE, 1, 1, "", "", choices=("gpt",), passages=passages)
    assert "takes no side" in said(critique)
    vote = Question(agent, Purpose.VOTE, 1, 1, "", "", choices=("gpt",), passages=passages)
    assert '"choice": "A"' in said(vote)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=300), st.integers(1, 4))
def test_any_question_can_be_debated(question, rounds):
    history = debate(question, agents(2), rounds=rounds)
    assert history[-1].data["status"] == "completed"
    assert not of(history, EventType.AGENT_ERROR)


def test_an_answer_streams_in_pieces_that_join_to_it():
    pieces: list[str] = []
    reply = build(AgentSpec("demo-1", "demo"), OFFLINE).ask(
        proposal(AgentSpec("demo-1", "demo")), pieces.append, FOREVER
    )
    assert isinstance(reply, Reply)
    assert "".join(pieces) == reply.text
    assert 2 < len(pieces) <= PIECES


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_an_answer_takes_the_time_that_was_set():
    clock = Clock()
    spec = AgentSpec("demo-1", "demo")
    DemoAgent(spec, 3.0, clock=clock, sleep=clock.sleep).ask(proposal(spec), lambda text: None, FOREVER)
    assert clock.now == pytest.approx(1003.0)


def test_no_answer_outlasts_the_deadline():
    clock = Clock()
    spec = AgentSpec("demo-1", "demo")
    with pytest.raises(AgentFailed) as failed:
        DemoAgent(spec, 60.0, clock=clock, sleep=clock.sleep).ask(proposal(spec), lambda text: None, 1007.0)
    assert failed.value.kind == "timeout"
    assert clock.now == pytest.approx(1007.0)


def test_whoever_breaks_the_answer_off_is_not_kept_from_it():
    class EnoughError(Exception):
        pass

    def enough(text: str) -> None:
        raise EnoughError

    spec = AgentSpec("demo-1", "demo")
    with pytest.raises(EnoughError):
        build(spec, OFFLINE).ask(proposal(spec), enough, FOREVER)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("1.5", 1.5), ("60", 60.0), ("", 0.3)],
)
def test_the_delay_is_set_in_seconds(value, seconds):
    assert delay({"ARAGORA_DEMO_DELAY": value}) == seconds
    assert delay({}) == 0.3


@pytest.mark.parametrize("value", ["61", "-1", "nan", "soon"])
def test_a_senseless_delay_is_named(value):
    with pytest.raises(AgentFailed, match="ARAGORA_DEMO_DELAY: write a number from 0 to 60"):
        delay({"ARAGORA_DEMO_DELAY": value})
