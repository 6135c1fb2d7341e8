"""Debates that come of others, carried out by the runner."""

from collections.abc import Callable
from typing import Any

import pytest

from aragora.agents import AgentFailed
from aragora.debate.engine import Purpose
from aragora.errors import Conflict, Forbidden, NotFound, ValidationFailed
from aragora.service import Principal
from aragora.service.lineage import CUT, AskAgain, FollowUp, Fork, ask_again, follow_up, fork
from aragora.service.principal import STRANGER
from aragora.storage import DebateRecord, Relation, Scope
from tests.aragora.runner.conftest import (
    Parts,
    environ,
    postgresql,
    postgresql_template,
    process,
    settings,
    sqlite_template,
)
from tests.aragora.runner.test_runner import ask, ended

__all__ = ["environ", "postgresql", "postgresql_template", "process", "settings", "sqlite_template"]

FURTHER = "And what would it cost to go back?"
Start = Callable[..., Parts]


@pytest.fixture
def here(process: Start) -> Parts:
    return process()


def finished(here: Parts, **changes: Any) -> DebateRecord:
    return ended(here, ask(here, rounds=1, **changes))


def test_a_further_question_knows_what_the_old_one_came_to(here: Parts) -> None:
    old = finished(here, context="We are four people.", criteria="cheap")
    new = follow_up(here.debates, old.id, FollowUp.parse({"question": FURTHER}))
    assert (new.parent_id, new.relation) == (old.id, Relation.FOLLOW_UP)
    spec = new.spec
    assert (spec.question, spec.rounds, spec.criteria, spec.agents) == (FURTHER, 1, "cheap", old.spec.agents)
    for words in (old.spec.question, old.final_answer or "?", "We are four people."):
        assert words in spec.context
    assert spec.secret != old.spec.secret
    assert ended(here, new).status == "completed"
    assert [record.id for record in here.debates.page(parent=old.id).debates] == [new.id]


def test_a_fork_changes_what_it_is_told_and_nothing_else(here: Parts) -> None:
    old = finished(here)
    agents = ["demo", {"type": "demo", "name": "Ann", "role": "skeptic"}]
    new = fork(here.debates, old.id, Fork.parse({"agents": agents, "consensus": "unanimous", "context": "Only this."}))
    assert (new.relation, new.spec.question, new.spec.rounds) == (Relation.FORK, old.spec.question, 1)
    assert [agent.name for agent in new.spec.agents] == ["demo-1", "Ann"]
    assert new.spec.consensus == "unanimous"
    assert new.spec.context.endswith("Only this.")
    assert ended(here, new).status == "completed"


def test_too_long_a_context_says_that_it_was_cut(here: Parts) -> None:
    old = finished(here, context="x" * 99_990)
    new = fork(here.debates, old.id, Fork.parse({}))
    assert new.spec.context.startswith("An earlier debate was about")
    assert new.spec.context.endswith(CUT)
    assert len(new.spec.context) == 100_000


def test_failed_parts_are_asked_again_and_the_others_kept(here: Parts) -> None:
    here.agent.failure = lambda question: (
        AgentFailed("server", "away") if question.agent.name == "demo-2" and question.purpose is Purpose.VOTE else None
    )
    old = finished(here)
    here.agent.failure = lambda question: None
    before = len(here.agent.calls)
    new = ask_again(here.debates, old.id, AskAgain.parse({"timeout": 50.0}), key="k")
    assert (new.parent_id, new.relation, new.spec.timeout) == (old.id, Relation.ASK_AGAIN, 50.0)
    assert ask_again(here.debates, old.id, AskAgain.parse({"timeout": 50.0}), key="k").id == new.id
    assert ended(here, new).status == "completed"
    asked = here.agent.calls[before:]
    assert {(question.agent.name, question.purpose) for question in asked} == {("demo-2", Purpose.VOTE)}
    assert here.store.get(new.id).last_seq == len(here.store.history(new.id))


def test_only_failed_parts_of_ended_debates_are_asked_again(here: Parts) -> None:
    here.agent.hold.clear()
    running = ask(here)
    with pytest.raises(Conflict, match="has not ended"):
        ask_again(here.debates, running.id, AskAgain.parse({}))
    here.agent.hold.set()
    with pytest.raises(Conflict, match="nothing failed"):
        ask_again(here.debates, ended(here, running).id, AskAgain.parse({}))


def test_keys_tell_what_was_asked_of_which_debate(here: Parts) -> None:
    old, other = finished(here), finished(here)
    first = fork(here.debates, old.id, Fork.parse({}), key="k")
    assert fork(here.debates, old.id, Fork.parse({}), key="k").id == first.id
    with pytest.raises(Conflict):
        fork(here.debates, other.id, Fork.parse({}), key="k")
    with pytest.raises(Conflict):
        follow_up(here.debates, old.id, FollowUp.parse({"question": FURTHER}), key="k")


def test_only_who_sees_a_debate_goes_on_with_it(here: Parts) -> None:
    old = finished(here)
    here.store.tokens.add("guest", [Scope.CREATE])
    (token,) = here.store.tokens.all()
    guest = here.debates.on_behalf_of(Principal.of(token))
    with pytest.raises(NotFound):
        fork(guest, old.id, Fork.parse({}))
    here.store.update(old.id, is_public=True)
    new = fork(guest, old.id, Fork.parse({}))
    assert new.owner == "guest"
    with pytest.raises(Forbidden):
        fork(here.debates.on_behalf_of(STRANGER), old.id, Fork.parse({}))


def test_changes_are_checked_as_in_a_new_debate(here: Parts) -> None:
    old = finished(here)
    for changes, words in (
        ({"rounds": 11}, "rounds: at most 10"),
        ({"agents": ["nobody", "demo"]}, "no agent 'nobody'"),
        ({"colour": 1}, "colour: is not known here"),
    ):
        with pytest.raises(ValidationFailed, match=words):
            fork(here.debates, old.id, Fork.parse(changes))
    with pytest.raises(ValidationFailed, match="question: is needed"):
        FollowUp.parse({})
