"""Councils that are kept under a name: whose they are, and what a debate takes over."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aragora.debate.spec import Effort
from aragora.errors import Forbidden, NotFound, TooManyRequests, ValidationFailed
from aragora.service import Debates, NewDebate, Principal
from aragora.service.presets import NewPreset
from aragora.service.principal import EVERYBODY, STRANGER
from aragora.settings import load
from aragora.storage import ChangeFeed, Scope, Store
from aragora.storage import presets as storage

QUESTION = "Should we adopt event sourcing?"
COUNCIL: dict[str, Any] = {
    "description": "Two and a judge",
    "agents": [
        "demo",
        {
            "type": "demo",
            "name": "Ann",
            "role": "skeptic",
            "persona": "You have paid for such systems.",
            "effort": "high",
        },
        {"type": "demo", "name": "Jo", "role": "judge", "model": "m"},
    ],
    "rounds": 2,
    "consensus": "judge",
    "budget": {"money": 0.5},
}


@pytest.fixture
def debates(tmp_path: Path) -> Iterator[Debates]:
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path)})
    store = Store.open(settings)
    yield Debates(store, ChangeFeed(store, settings), {})
    store.close()


@pytest.fixture
def guest(debates: Debates) -> Callable[..., Principal]:
    def guest(name: str, *scopes: Scope) -> Principal:
        debates.store.tokens.add(name, scopes or [Scope.CREATE])
        return Principal.of(next(token for token in debates.store.tokens.all() if token.name == name))

    return guest


def save(debates: Debates, principal: Principal, name: str = "red", **changes: Any) -> None:
    debates.presets.save(principal, name, NewPreset.parse(COUNCIL | changes))


def ask(debates: Debates, **body: Any) -> Any:
    return debates.create(NewDebate.parse({"question": QUESTION} | body)).spec


def test_a_debate_takes_over_what_it_leaves_out(debates: Debates) -> None:
    save(debates, EVERYBODY)
    spec = ask(debates, preset="red")
    assert [agent.name for agent in spec.agents] == ["demo-1", "Ann", "Jo"]
    ann = spec.agents[1]
    assert (ann.role, ann.persona, ann.effort) == ("skeptic", "You have paid for such systems.", Effort.HIGH)
    assert (spec.rounds, spec.consensus, spec.budget.money) == (2, "judge", 0.5)
    changed = ask(debates, preset="red", rounds=1, agents=["demo", "demo"])
    assert (changed.rounds, len(changed.agents), changed.consensus) == (1, 2, "judge")


def test_an_unknown_preset_is_named(debates: Debates) -> None:
    with pytest.raises(ValidationFailed, match="preset: no preset 'blue'"):
        ask(debates, preset="blue")


def test_administrators_keep_everybody_s_and_others_their_own(
    debates: Debates, guest: Callable[..., Principal]
) -> None:
    first, second = guest("first"), guest("second")
    save(debates, EVERYBODY, description="for all")
    save(debates, first, description="mine")
    save(debates, first, "own")
    assert [(kept.name, kept.body["description"]) for kept in debates.presets.all(first)] == [
        ("own", "Two and a judge"),
        ("red", "mine"),
    ]
    assert [kept.body["description"] for kept in debates.presets.all(second)] == ["for all"]
    assert debates.presets.is_own(first, debates.presets.get(first, "red"))
    assert not debates.presets.is_own(second, debates.presets.get(second, "red"))
    with pytest.raises(NotFound):
        debates.presets.remove(second, "red")
    with pytest.raises(NotFound):
        debates.presets.get(second, "own")
    debates.presets.remove(first, "red")
    assert debates.presets.get(first, "red").body["description"] == "for all"


def test_a_preset_is_replaced_by_the_next_of_its_name(debates: Debates) -> None:
    save(debates, EVERYBODY, rounds=2)
    save(debates, EVERYBODY, rounds=5)
    (kept,) = debates.presets.all(EVERYBODY)
    assert kept.body["rounds"] == 5


def test_readers_keep_nothing(debates: Debates, guest: Callable[..., Principal]) -> None:
    reader = guest("reader", Scope.READ)
    save(debates, EVERYBODY)
    assert len(debates.presets.all(reader)) == 1
    for principal in (reader, STRANGER):
        with pytest.raises(Forbidden):
            save(debates, principal)
        with pytest.raises(Forbidden):
            debates.presets.remove(principal, "red")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"agents": ["demo"]}, "agents: at least 2"),
        ({"agents": [{"type": "demo", "effort": "huge"}, "demo"]}, "agents.0.effort"),
        ({"agents": [{"type": "demo", "persona": "x" * 2001}, "demo"]}, "agents.0.persona: at most 2000"),
        ({"question": QUESTION}, "question: is not known here"),
        ({"rounds": 11}, "rounds: at most 10"),
    ],
)
def test_what_no_debate_could_take_over_is_refused(debates: Debates, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationFailed, match=words):
        save(debates, EVERYBODY, **changes)


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "\x00"])
def test_a_name_is_one_word(debates: Debates, name: str) -> None:
    with pytest.raises(ValidationFailed, match="name"):
        save(debates, EVERYBODY, name)


def test_one_owner_keeps_so_many(debates: Debates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MOST", 2)
    save(debates, EVERYBODY, "a")
    save(debates, EVERYBODY, "b")
    save(debates, EVERYBODY, "b", rounds=1)
    with pytest.raises(TooManyRequests, match="2 presets"):
        save(debates, EVERYBODY, "c")
