"""Debates of several owners: each sees its own, an administrator all, and nobody spends more than is allowed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aragora.agents.prices import Price, Prices
from aragora.debate.events import Draft, EventType
from aragora.errors import AragoraError, Forbidden, NotFound, TooManyRequests, ValidationFailed
from aragora.service import DebateChanges, Debates, NewDebate, Policy, Principal
from aragora.service.principal import EVERYBODY, STRANGER
from aragora.settings import load
from aragora.storage import ChangeFeed, DebateRecord, Limits, Scope, Store

QUESTION = "Should we adopt event sourcing?"
KEYS = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
PRICES = Prices({"openai": {"*": Price(1.0, 1.0, 1.0, 1.0, assumed=True)}})


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Debates]:
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path), "ARAGORA_MAX_AGENT_ROUNDS": "20", "ARAGORA_DEBATE_MONEY": "5"})
    store = Store.open(settings)
    feed = ChangeFeed(store, settings)
    yield Debates(store, feed, KEYS, prices=PRICES, policy=Policy.of(settings))
    store.close()


@pytest.fixture
def of(whole: Debates) -> Callable[..., Debates]:
    """The debates as a token of this name, scopes and limits sees them."""

    def of(name: str, *scopes: Scope, owner: str | None = None, **limits: Any) -> Debates:
        models = limits.pop("models", ())
        whole.store.tokens.add(name, scopes or [Scope.CREATE], Limits(**limits), models, owner)
        (token,) = (token for token in whole.store.tokens.all() if token.name == name)
        return whole.on_behalf_of(Principal.of(token))

    return of


def ask(debates: Debates, key: str | None = None, **changes: Any) -> DebateRecord:
    body = {"question": QUESTION, "agents": ["demo", "demo"], "rounds": 1} | changes
    return debates.create(NewDebate.parse(body), idempotency_key=key)


READS: list[Callable[[Debates, str], object]] = [
    lambda debates, found: debates.get(found),
    lambda debates, found: debates.view(found),
    lambda debates, found: debates.events(found),
    lambda debates, found: debates.messages(found),
    lambda debates, found: list(debates.votes(found)),
    lambda debates, found: list(debates.critiques(found)),
    lambda debates, found: list(debates.convergence(found)),
    lambda debates, found: list(debates.usage(found)),
    lambda debates, found: debates.export(found, "json"),
    lambda debates, found: debates.subscribe(found).close(),
]
CHANGES: list[Callable[[Debates, str], object]] = [
    lambda debates, found: debates.update(found, DebateChanges(title="mine")),
    lambda debates, found: debates.user_vote(found, "demo-1"),
    lambda debates, found: debates.user_suggestion(found, "measure"),
    lambda debates, found: debates.share(found),
    lambda debates, found: debates.unshare(found),
    lambda debates, found: debates.cancel(found),
    lambda debates, found: debates.delete(found),
]


def test_a_debate_is_its_owner_s_and_the_administrator_s(whole: Debates, of: Callable[..., Debates]) -> None:
    guest, other = of("guest"), of("other")
    record = ask(guest)
    assert record.owner == "guest"
    for act in (*READS, *CHANGES):
        with pytest.raises(NotFound):
            act(other, record.id)
    for act in (*READS, *CHANGES):
        act(guest, record.id)
    second = ask(guest)
    for act in (*READS, *CHANGES):
        act(whole, second.id)


def test_lists_hold_what_is_the_caller_s(whole: Debates, of: Callable[..., Debates]) -> None:
    guest, other, admin = of("guest"), of("other"), of("boss", Scope.ADMIN)
    mine, theirs, ours = ask(guest), ask(other), ask(whole)
    assert [record.id for record in guest.page().debates] == [mine.id]
    assert [record.id for record in other.page(q="event").debates] == [theirs.id]
    assert {record.id for record in admin.page().debates} == {mine.id, theirs.id, ours.id}
    first = admin.page(limit=2)
    assert [record.id for record in admin.page(limit=2, cursor=first.next_cursor).debates] == [mine.id]


def test_a_reader_changes_nothing(of: Callable[..., Debates]) -> None:
    guest, reader = of("guest"), of("dashboard", Scope.READ, owner="guest")
    record = ask(guest)
    for act in READS:
        act(reader, record.id)
    for act in CHANGES:
        with pytest.raises(Forbidden, match="scope create"):
            act(reader, record.id)
    with pytest.raises(Forbidden):
        ask(reader)


def test_a_public_debate_is_read_by_all_and_changed_by_its_owner(whole: Debates, of: Callable[..., Debates]) -> None:
    guest, other, stranger = of("guest"), of("other"), whole.on_behalf_of(STRANGER)
    record = ask(guest)
    with pytest.raises(NotFound):
        stranger.get(record.id)
    guest.update(record.id, DebateChanges(is_public=True))
    guest.share(record.id)
    for debates in (other, stranger):
        for act in READS:
            act(debates, record.id)
        assert (debates.view(record.id)["owner"], debates.view(record.id)["share"]) == (None, None)
        for act in CHANGES:
            with pytest.raises(Forbidden):
                act(debates, record.id)
    assert guest.view(record.id)["owner"] == "guest"


def test_idempotency_keys_are_each_owner_s_own(of: Callable[..., Debates]) -> None:
    guest, other = of("guest"), of("other")
    first = ask(guest, key="same")
    assert ask(guest, key="same").id == first.id
    assert ask(other, key="same").id != first.id


def test_a_share_link_shows_the_debate_and_not_its_confidences(whole: Debates, of: Callable[..., Debates]) -> None:
    guest = of("guest")
    record = ask(guest, context="secret context", metadata={"secret": "metadata"}, title="Shown")
    address = guest.summary(guest.share(record.id))["share"]
    assert guest.summary(guest.share(record.id))["share"] == address
    key = address.removeprefix("/shared/")
    assert len(key) == 32
    shown = whole.on_behalf_of(STRANGER).shared(key)
    assert shown["title"] == "Shown"
    page = whole.shared_page(key).body.decode()
    assert QUESTION in page
    for told in (repr(shown), page):
        assert not {word for word in ("secret", record.id, "guest", key) if word in told}

    guest.unshare(record.id)
    for wrong in (key, "", "x" * 32, "\x00" * 32, record.id, "é" * 32):
        with pytest.raises(NotFound, match="nothing is shared"):
            whole.shared(wrong)
    assert guest.summary(guest.share(record.id))["share"] != address


def test_a_deleted_debate_is_shared_no_more(whole: Debates) -> None:
    record = whole.share(ask(whole).id)
    whole.delete(record.id)
    with pytest.raises(NotFound):
        whole.shared(record.share_key or "")


def problem(act: Callable[[], object]) -> str:
    with pytest.raises(ValidationFailed) as refused:
        act()
    return str(refused.value)


def test_only_models_that_both_lists_allow_are_asked(whole: Debates, of: Callable[..., Debates]) -> None:
    guest = of("guest", models=("openai/gpt-5*", "anthropic"))
    agents = [{"type": "openai", "model": "gpt-5.6"}, {"type": "anthropic", "model": "claude-opus-5-5"}]
    assert ask(guest, agents=agents).owner == "guest"
    assert ask(guest).owner == "guest", "the demo is always allowed"
    dear = [{"type": "openai", "model": "o1-pro"}, "demo"]
    assert problem(lambda: ask(guest, agents=dear)) == (
        "agents.0: the model 'openai/o1-pro' is not allowed: take one of openai/gpt-5*, anthropic"
    )
    other = Debates(whole.store, whole.feed, KEYS | {"ARAGORA_OPENAI_MODEL": "o1-pro"}, prices=PRICES)
    told = problem(lambda: ask(other.on_behalf_of(guest.principal), agents=["openai", "demo"]))
    assert "openai/o1-pro" in told, "nor as the default"
    narrow = Debates(whole.store, whole.feed, KEYS, prices=PRICES, policy=Policy(models=("anthropic",)))
    assert "not allowed" in problem(lambda: ask(narrow.on_behalf_of(guest.principal), agents=agents))


def test_agents_that_are_not_allowed_are_no_default(whole: Debates) -> None:
    narrow = Debates(whole.store, whole.feed, KEYS, prices=PRICES, policy=Policy(models=("anthropic",)))
    record = ask(narrow, agents=None)
    assert [agent.type for agent in record.spec.agents] == ["anthropic", "anthropic"]
    demo = Debates(whole.store, whole.feed, KEYS, prices=PRICES, policy=Policy(models=("ollama",)))
    assert {agent.type for agent in ask(demo, agents=None).spec.agents} == {"demo"}


def test_agents_times_rounds_are_bounded(whole: Debates) -> None:
    assert ask(whole, agents=["openai"] * 10, rounds=2).spec.rounds == 2
    assert ask(whole, agents=["demo"] * 10, rounds=10).spec.rounds == 10
    assert problem(lambda: ask(whole, agents=["openai"] * 7, rounds=3)) == "rounds: 7 models x 3 rounds, at most 20"


def test_a_budget_is_at_most_what_the_settings_allow(whole: Debates) -> None:
    assert ask(whole).spec.budget.money == 5
    budget = ask(whole, budget={"money": 0.25, "tokens": 1000, "questions": 7}).spec.budget
    assert (budget.money, budget.tokens, budget.questions) == (0.25, 1000, 7)
    assert "budget.money: at most 5" in problem(lambda: ask(whole, budget={"money": 5.01}))
    assert "more than 0" in problem(lambda: ask(whole, budget={"money": 0.0}))
    assert "is not known here" in problem(lambda: ask(whole, budget={"euros": 1.0}))


def test_debates_at_once_are_bounded_by_the_token(of: Callable[..., Debates]) -> None:
    guest = of("guest", debates=1)
    record = ask(guest)
    with pytest.raises(TooManyRequests):
        ask(guest)
    guest.cancel(record.id)
    ask(guest)


def test_spending_is_shown_to_whom_it_belongs(whole: Debates, of: Callable[..., Debates]) -> None:
    guest = of("guest")
    record = ask(guest, agents=["openai", "openai"])
    usage = {"input": 100, "output": 20, "cached": 10, "written": 0, "thought": 5, "cost": 0.00012}
    said = {"role": "proposer", "content": "x", "usage": usage}
    drafts = [Draft(EventType.AGENT_MESSAGE, 1, "openai-1", said)] * 2
    whole.store.append(record.id, None, drafts, lease=None, at=1.0)
    (agent,) = guest.usage(record.id)
    assert agent == {"agent": "openai-1", "answers": 2, "input": 200, "output": 40, "cached": 20, "written": 0} | {
        "thought": 10,
        "cost": 0.00024,
    }
    assert guest.spending() == []
    sheet = guest.export(record.id, "csv", table=_usage_table()).body.decode()
    assert sheet.splitlines() == [
        "agent,answers,input,output,cached,written,thought,cost",
        "openai-1,2,200,40,20,0,10,0.00024",
    ]
    with pytest.raises(ValidationFailed):
        guest.spending(0)


def _usage_table() -> Any:
    from aragora.debate.downloads import Table

    return Table.USAGE


def test_nobody_is_everybody_unless_told(whole: Debates) -> None:
    assert whole.principal is EVERYBODY
    with pytest.raises(AragoraError):
        whole.on_behalf_of(STRANGER).create(NewDebate.parse({"question": QUESTION}))
