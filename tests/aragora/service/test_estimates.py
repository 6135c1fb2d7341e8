"""What a debate would take: as many questions as the engine really asks, and prompts of their real sizes."""

import time

import pytest

from aragora.agents.metering import Meter
from aragora.agents.prices import Price, Prices
from aragora.debate import engine
from aragora.debate.engine import Reply
from aragora.debate.events import Event
from aragora.debate.spec import AgentSpec, ConsensusMode, DebateSpec
from aragora.service.estimates import estimate
from tests.aragora.runner.agents import answer

METER = Meter(Prices({"openai": {"*": Price(2.0, 10.0, 2.0, 2.0, assumed=True), "known": Price(1, 1, 1, 1)}}), {})


def spec(agents: int = 3, rounds: int = 2, agent: str = "openai", **more: object) -> DebateSpec:
    members = tuple(AgentSpec(f"{agent}-{number}", agent, "known") for number in range(agents))
    return DebateSpec("Should we adopt event sourcing?", members, rounds=rounds, **more)  # type: ignore[arg-type]


def asked(debate: DebateSpec) -> int:
    """How many questions the engine asks when every answer can be used and nothing ends it early."""
    history: list[Event] = []
    count = 0
    while not history or history[-1].type != "debate_end":
        plan = engine.plan(debate, history, 0.0)
        drafts = list(plan.drafts)
        for question in plan.questions:
            count += 1
            drafts += engine.record(question, Reply(answer(question)))
        for draft in drafts:
            history.append(Event(len(history) + 1, draft.type, 0.0, draft.round, draft.agent, draft.data))
    return count


@pytest.mark.parametrize("mode", list(ConsensusMode))
@pytest.mark.parametrize(("agents", "rounds"), [(2, 1), (3, 3), (5, 2)])
def test_the_number_of_questions_is_the_engine_s(mode: ConsensusMode, agents: int, rounds: int) -> None:
    debate = spec(agents, rounds, consensus=mode, early_stop=False)
    assert estimate(debate, METER).questions == asked(debate)


@pytest.mark.parametrize("mode", [ConsensusMode.MAJORITY, ConsensusMode.BORDA, ConsensusMode.UNANIMOUS])
@pytest.mark.parametrize("agents", [2, 3, 4, 7])
def test_it_counts_every_round_and_vote_of_an_early_stop(mode: ConsensusMode, agents: int) -> None:
    full = estimate(spec(agents, 3, consensus=mode, early_stop=False), METER)
    assert estimate(spec(agents, 3, consensus=mode), METER).questions == full.questions + 2 * agents


def test_a_synthesis_is_one_question_more() -> None:
    assert estimate(spec(synthesis=True), METER).questions == estimate(spec(), METER).questions + 1


def test_a_longer_context_costs_more() -> None:
    short, long = estimate(spec(), METER), estimate(spec(context="fact " * 1500), METER)
    assert long.questions == short.questions
    assert long.usage.input > short.usage.input + 1000 * short.questions
    assert long.cost > short.cost


def test_it_says_which_prices_are_assumed() -> None:
    agents = (AgentSpec("a", "openai", "known"), AgentSpec("b", "openai", "brand-new"), AgentSpec("c", "demo"))
    found = estimate(DebateSpec("Should we adopt event sourcing?", agents, rounds=1), METER)
    assert found.assumed == ("openai/brand-new",)
    assert found.cost > 0


def test_the_summary_is_one_line() -> None:
    found = estimate(spec(), METER)
    assert found.summary.startswith(f"at most {found.questions} questions, about ")
    assert found.summary.endswith(f"{found.cost / 1e6:.2f} $")
    free = estimate(spec(agent="demo"), METER)
    assert free.summary == f"at most {free.questions} questions, which cost nothing"
    assert (free.usage.total, free.cost) == (0, 0)


def test_the_largest_debate_is_estimated_in_little_time() -> None:
    began = time.process_time()
    estimate(spec(10, 5, context="fact " * 1900), METER)
    assert time.process_time() - began < 3
