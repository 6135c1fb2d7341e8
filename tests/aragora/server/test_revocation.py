"""A token that is removed takes its open connections with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aragora.errors import Unavailable
from aragora.server.audit import Caller
from aragora.server.process import Process
from aragora.server.session import UNAUTHORIZED, Closed, Session
from aragora.service import Principal
from aragora.settings import load
from aragora.storage import Scope
from tests.waiting import until


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Process]:
    built = Process.build(load({"ARAGORA_DATA_DIR": str(tmp_path), "ARAGORA_RUNNER": "0"}))
    yield built
    built.drain(0)
    built.close()


def conversation(here: Process, principal: Principal | None) -> Session:
    return Session(here, lambda: None, Caller("203.0.113.9", principal, "someone", "r1"))


def principal(here: Process, secret: str) -> Principal:
    found = here.access.principal(secret)
    assert found is not None
    return found


def test_a_websocket_ends_at_the_heartbeat_behind_its_token(here: Process) -> None:
    here.store.tokens.add("other", [Scope.READ])
    guest = principal(here, here.store.tokens.add("guest", [Scope.CREATE]))
    session = conversation(here, guest)
    assert "heartbeat" in session.heartbeat()
    here.store.tokens.rotate("guest")
    with pytest.raises(Closed) as closed:
        session.heartbeat()
    assert closed.value.code == UNAUTHORIZED


def test_who_needed_no_token_needs_one_as_soon_as_there_is_one(here: Process) -> None:
    session = conversation(here, here.access.principal(None))
    assert "heartbeat" in session.heartbeat()
    here.store.tokens.add("guest", [Scope.CREATE])
    until(lambda: ended(session), seconds=5)


def test_a_database_that_is_away_ends_no_conversation(here: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    session = conversation(here, principal(here, here.store.tokens.add("guest", [Scope.CREATE])))

    def away(_: object) -> bool:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(here.store.tokens, "is_current", away)
    assert "heartbeat" in session.heartbeat()


def ended(session: Session) -> bool:
    try:
        session.heartbeat()
    except Closed:
        return True
    return False
