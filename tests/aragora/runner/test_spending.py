"""What debates spend: told with each answer, summed, and never more than budget and token allow."""

import threading
from collections.abc import Callable

import pytest

from aragora.agents import AgentFailed
from aragora.agents.metering import Bill
from aragora.agents.prices import Price, Prices
from aragora.debate.engine import Purpose, Question
from aragora.debate.events import Event, EventType
from aragora.debate.spec import AgentSpec, Budget, DebateSpec
from aragora.debate.usage import Usage
from aragora.runner.runner import Unobserved
from aragora.storage import DebateRecord, Limits, Scope
from tests.aragora.runner.conftest import Parts
from tests.aragora.runner.test_runner import ended
from tests.waiting import until

Start = Callable[..., Parts]
USAGE = Usage(input=200, output=100, cached=50, thought=30)
PRICES = Prices({"openai": {"big": Price(2.0, 10.0, 1.0, 2.0)}, "ollama": {"*": Price(0.0, 0.0, 0.0, 0.0)}})
COST = 150 * 2 + 50 + 1000  # microdollars of USAGE


def begin(parts: Parts, budget: Budget = Budget(), owner: str = "", agent: str = "openai") -> DebateRecord:  # noqa: B008
    agents = tuple(AgentSpec(f"{agent}-{number}", agent, "big") for number in (1, 2, 3))
    spec = DebateSpec("Should we adopt event sourcing?", agents, rounds=1, budget=budget)
    record = parts.store.create(spec, owner=owner)
    parts.feed.publish_work()
    return record


def usages(parts: Parts, record: DebateRecord) -> list[dict[str, object]]:
    return [event.data["usage"] for event in parts.store.history(record.id) if "usage" in event.data]


def end_of(parts: Parts, record: DebateRecord) -> Event:
    return parts.store.history(record.id)[-1]


@pytest.fixture
def here(process: Start) -> Parts:
    parts = process(prices=PRICES)
    parts.agent.usage = USAGE
    return parts


def test_each_answer_says_what_it_took_and_the_debate_sums_it(here: Parts) -> None:
    record = ended(here, begin(here))
    told = usages(here, record)
    assert record.status == "completed"
    assert len(told) == len(here.agent.calls) == record.spending.questions
    assert told[0] == {**USAGE.to_json(), "cost": COST / 1e6}
    assert record.spending.usage.total == USAGE.total * len(told)
    assert record.spending.cost == COST * len(told)
    assert (record.spending.held_tokens, record.spending.held_cost) == (0, 0)


def test_an_answer_without_a_count_is_reckoned_by_its_length(here: Parts) -> None:
    here.agent.usage = None
    record = ended(here, begin(here))
    first = usages(here, record)[0]
    assert first["estimated"] is True
    assert first["input"] > first["output"] > 0  # type: ignore[operator]
    assert record.spending.cost > 0


def test_the_offline_demo_takes_nothing(here: Parts) -> None:
    record = ended(here, begin(here, Budget(questions=0, tokens=0, money=0.0), agent="demo"))
    assert record.status == "completed"
    assert usages(here, record) == []
    assert here.store.ledger.days(None, "") == []


def test_a_server_of_ones_own_costs_tokens_and_no_money(here: Parts) -> None:
    record = ended(here, begin(here, Budget(money=0.0), agent="ollama"))
    assert record.status == "completed"
    assert record.spending.usage.total > 0
    assert record.spending.cost == 0


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(questions=4), "budget of 4 questions"),
        (Budget(tokens=30_000), "budget of 30,000 tokens"),
        (Budget(money=0.1), r"budget of 0.10 $"),
    ],
)
def test_a_budget_ends_a_debate_as_its_timeout_does(here: Parts, budget: Budget, words: str) -> None:
    here.agent.usage = Usage(input=2000, output=1000)
    record = ended(here, begin(here, budget))
    assert record.status == "timeout"
    assert words in (record.reason or "")
    assert end_of(here, record).data["reason"] == record.reason
    assert record.final_answer, "the answer that is ahead"
    history = here.store.history(record.id)
    (outcome,) = (event for event in history if event.type is EventType.CONSENSUS)
    assert outcome.data["cut_short"] is True
    if budget.questions:
        assert len(here.agent.calls) == budget.questions
    spent = record.spending
    assert spent.usage.total <= (budget.tokens or spent.usage.total)
    assert spent.cost <= (budget.money or 1) * 1e6


def test_a_budget_that_allows_no_question_asks_none(here: Parts) -> None:
    record = ended(here, begin(here, Budget(tokens=100)))
    assert (record.status, record.final_answer) == ("timeout", None)
    assert here.agent.calls == []


def test_questions_that_do_not_fit_yet_wait_for_answers(here: Parts) -> None:
    """One question at a time fits beside what answers really take."""
    record = ended(here, begin(here, Budget(tokens=13_000)))
    assert record.spending.questions >= 3
    assert record.spending.usage.total == USAGE.total * record.spending.questions


def test_processes_together_spend_no_more_than_a_token_may(process: Start) -> None:
    here, there = process(prices=PRICES, capacity=2), process(prices=PRICES, capacity=2)
    here.store.tokens.add("guest", [Scope.CREATE], Limits(questions=10))
    records = [begin(here, owner="guest") for _ in range(4)]
    states = [ended(here, record) for record in records]
    assert len(here.agent.calls) + len(there.agent.calls) == 10
    assert {state.status for state in states} <= {"timeout", "completed"}
    assert any("10 questions a day" in (state.reason or "") for state in states)


def test_configured_tokens_have_the_limits_of_the_settings(process: Start) -> None:
    here = process(prices=PRICES, daily=Limits(questions=5))
    first, second = ended(here, begin(here, owner="@1")), ended(here, begin(here, owner="@2"))
    assert (first.spending.questions, second.spending.questions) == (5, 5)


def test_a_token_that_is_removed_asks_nothing_more(process: Start) -> None:
    here = process(prices=PRICES)
    here.store.tokens.add("guest", [Scope.CREATE], Limits())
    here.agent.hold.clear()
    record = begin(here, owner="guest")
    until(lambda: len(here.agent.calls) == 3)
    here.store.tokens.remove("guest")
    here.agent.hold.set()
    assert ended(here, record).reason == "the API token was removed"
    assert len(here.agent.calls) == 3


def test_what_is_broken_off_stays_held(here: Parts) -> None:
    here.agent.hold.clear()
    record = begin(here)
    until(lambda: len(here.agent.calls) == 3)
    here.debates.cancel(record.id)
    until(lambda: here.agent.broken_off == 3)
    spent = here.store.get(record.id).spending
    assert (spent.questions, spent.usage, spent.cost) == (3, Usage(), 0)
    assert spent.held_tokens > 3 * 4096


@pytest.mark.parametrize(("kind", "charged"), [("connection", False), ("quota", False), ("timeout", True)])
def test_a_failure_is_charged_where_the_model_had_the_question(here: Parts, kind: str, charged: bool) -> None:
    here.agent.failure = lambda question: AgentFailed(kind, "no")
    record = ended(here, begin(here))
    assert record.status == "failed"
    assert record.spending.held_tokens == 0
    assert (record.spending.usage.total > 0) is charged
    assert bool(usages(here, record)) is charged


def test_a_failure_that_says_what_it_took_is_counted(here: Parts) -> None:
    def fails_to_vote(question: Question) -> Exception | None:
        return AgentFailed("server", "no", usage=Usage(7, 3)) if question.purpose is Purpose.VOTE else None

    here.agent.failure = fails_to_vote
    record = ended(here, begin(here))
    errors = [event for event in here.store.history(record.id) if event.type is EventType.AGENT_ERROR]
    assert errors
    assert all(error.data["usage"]["input"] == 7 for error in errors)


def test_every_bill_is_observed_once(process: Start) -> None:
    bills: list[tuple[str, Bill]] = []
    lock = threading.Lock()

    class Counting(Unobserved):
        def billed(self, agent_type: str, bill: Bill) -> None:
            with lock:
                bills.append((agent_type, bill))

    here = process(prices=PRICES, observer=Counting())
    here.agent.usage = USAGE
    record = ended(here, begin(here))
    assert bills == [("openai", Bill(USAGE, COST))] * record.spending.questions


def test_a_debate_over_midnight_counts_each_question_on_its_day(here: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1_800_000_000.0 + 86_400 * day for day in range(100)])
    real = here.store.ledger.hold
    monkeypatch.setattr(here.store.ledger, "hold", lambda *given: real(*given[:-1], next(moments)))
    record = ended(here, begin(here))
    days = here.store.ledger.days("", "")
    assert len(days) > 1
    assert sum(day.spending.questions for day in days) == record.spending.questions
    assert sum(day.spending.cost for day in days) == record.spending.cost
