"""Debates while the database is away: they wait, keep the answers that were given, and go on."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aragora.debate.events import EventType
from aragora.errors import Unavailable
from aragora.settings import Settings, load
from aragora.storage import DebateRecord
from tests.aragora.runner.conftest import Parts
from tests.aragora.runner.test_runner import ask, ended, gapless
from tests.aragora.storage.test_locked_file import locked
from tests.waiting import until

Start = Callable[..., Parts]


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return load(environ | {"ARAGORA_DATABASE_TIMEOUT": "0.2"})


def asked_once(parts: Parts) -> bool:
    asked = Counter((question.agent.name, question.purpose, question.round) for question in parts.agent.calls)
    return set(asked.values()) == {1}


def said_once(parts: Parts, record: DebateRecord) -> bool:
    events = parts.store.history(record.id)
    said = Counter(
        (event.type, event.agent, event.round, event.data.get("target"), event.data.get("role"))
        for event in events
        if event.agent is not None
    )
    return set(said.values()) == {1}


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_answers_that_come_while_the_file_is_locked_are_kept(
    process: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = process()
    here.agent.hold.clear()
    record = ask(here)
    until(lambda: len(here.agent.calls) == 3, "the first questions")
    with locked(tmp_path):
        here.agent.hold.set()
        until(lambda: "waits with its answers" in caplog.text, "an answer that cannot be stored")
    assert ended(here, record).status == "completed"
    gapless(here, record)
    assert asked_once(here)
    assert said_once(here, record)


def test_answer_is_stored_once_after_a_lost_confirmation(process: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    here = process()
    append = here.store.append
    lost = iter([True, False, True])

    def unconfirmed(debate_id: str, expected: int | None, drafts: Any, **named: Any) -> Any:
        stored = append(debate_id, expected, drafts, **named)
        if drafts[0].type in (EventType.AGENT_MESSAGE, EventType.VOTE) and next(lost, False):
            raise Unavailable("the connection broke")
        return stored

    monkeypatch.setattr(here.store, "append", unconfirmed)
    record = ask(here)
    assert ended(here, record).status == "completed"
    gapless(here, record)
    assert asked_once(here)
    assert said_once(here, record)


def test_what_fails_unexpectedly_ends_no_loop_of_the_runner(process: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    here = process(lease_ttl=1.0)
    claim, renew = here.store.leases.claim, here.store.leases.renew
    failures = {"claim": iter([True] * 2), "renew": iter([True] * 2)}

    def failing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def sometimes(*given: Any) -> Any:
            if next(failures[name], False):
                raise RuntimeError("nobody expected this")
            return call(*given)

        return sometimes

    monkeypatch.setattr(here.store.leases, "claim", failing("claim", claim))
    monkeypatch.setattr(here.store.leases, "renew", failing("renew", renew))
    here.agent.hold.clear()
    record = ask(here)
    until(lambda: here.agent.calls, "a claim after the failed ones")
    until(lambda: next(failures["renew"], True), "renewals after the failed ones")
    here.agent.hold.set()
    assert ended(here, record).status == "completed"
