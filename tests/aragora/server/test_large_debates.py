"""A debate that holds more than one answer should be made of at once: sent in portions, with pauses, and whole."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from aragora.debate.events import Draft, EventType
from aragora.server import resources
from aragora.storage import Store
from aragora.storage import store as storage
from tests.aragora.server.servers import THOROUGH, Server, running
from tests.aragora.storage.databases import environ, settings, sqlite_template
from tests.aragora.storage.debates import spec

__all__ = ["environ", "settings", "sqlite_template"]

VOTES = 3000
REASONING = "ä" * 2000


@pytest.fixture(scope="module", params=THOROUGH)
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server, and the address of a debate with many long votes."""
    with running(request.param, tmp_path_factory.mktemp(f"{request.param}-large")) as server:
        debate = server.finished()
        vote = json.dumps({"choice": "demo-1", "reasoning": REASONING, "user": None})
        rows = [(debate["id"], debate["last_seq"] + number, vote) for number in range(1, VOTES + 1)]
        with closing(sqlite3.connect(server.data / "aragora.db")) as database, database:
            database.executemany("INSERT INTO events VALUES (?, ?, 'user_vote', 0.0, 1, NULL, ?)", rows)
            database.execute("UPDATE debates SET last_seq = last_seq + ?", (VOTES,))
        yield server, f"/api/debates/{debate['id']}"


def test_every_vote_comes(large: tuple[Server, str]) -> None:
    server, path = large
    answer = server.get(f"{path}/votes")
    assert "Content-Length" not in answer.headers
    votes = answer.json()
    assert votes["count"] == len(votes["votes"]) > VOTES
    assert votes["debate_id"] == path.rpartition("/")[2]
    assert {vote["reasoning"] for vote in votes["votes"] if vote["type"] == "user_vote"} == {REASONING}
    head = server.request("HEAD", f"{path}/votes")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("form", ["json", "csv", "html", "txt", "md"])
def test_every_form_is_whole(large: tuple[Server, str], form: str) -> None:
    server, path = large
    answer = server.get(f"{path}/export/{form}?table=votes")
    assert answer.ok
    assert answer.content.decode().count(REASONING) == VOTES
    assert answer.headers["Content-Disposition"].startswith("attachment")
    if form == "json":
        assert len(answer.json()["votes"]) > VOTES


def test_what_is_small_keeps_its_length(large: tuple[Server, str]) -> None:
    server, path = large
    for part in ("/critiques", "/convergence", "/export/md?table=summary", ""):
        answer = server.get(path + part)
        assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_an_answer_that_breaks_off_does_not_look_whole(large: tuple[Server, str]) -> None:
    server, path = large
    with requests.get(f"{server.base}{path}/export/html?table=votes", stream=True, timeout=60) as answer:
        assert answer.raw.read(1000)
        with closing(sqlite3.connect(server.data / "aragora.db")) as database, database:
            database.execute("ALTER TABLE events RENAME TO lost")
        try:
            with pytest.raises(requests.RequestException):
                for _ in answer.iter_content(65536):
                    pass
        finally:
            with closing(sqlite3.connect(server.data / "aragora.db")) as database, database:
                database.execute("ALTER TABLE lost RENAME TO events")
    assert server.get(f"{path}/votes").json()["count"] > VOTES


@pytest.mark.parametrize("environ", ["sqlite"], indirect=True)
def test_no_piece_is_long(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is read and written between two pauses is bounded, whatever there is."""
    opened = Store.open(settings)
    record = opened.create(spec())
    drafts = [Draft(EventType.USER_VOTE, 0, None, {"choice": "x", "reasoning": "y" * 1000}) for _ in range(500)]
    opened.append(record.id, 0, drafts, lease=None, at=0.0)
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    read = list(opened.each(opened.get(record.id), [EventType.USER_VOTE]))
    assert [event.seq for event in read] == list(range(1, 501))
    assert pauses == [0] * (500 // storage.PIECE)
    # Passing over what is not wanted is a piece of work too.
    pauses.clear()
    assert list(opened.each(opened.get(record.id), [EventType.VOTE])) == []
    assert pauses == [0] * (500 // storage.PIECE)
    pauses.clear()
    assert len(opened.history(record.id)) == 500
    assert pauses == [0] * (500 // storage.PIECE)
    opened.close()

    pauses.clear()
    portions = list(resources.portions(iter([b"x" * 1000] * 1000)))
    assert b"".join(portions) == b"x" * 1_000_000
    assert max(map(len, portions)) < resources.PORTION_BYTES + 1000
    assert len(pauses) == len(portions) - 1
