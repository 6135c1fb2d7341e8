"""The client for programs, with every kind of server."""

from collections.abc import Iterator
from typing import Any

import pytest

from aragora.client import Client, Refused
from tests.aragora.server.servers import QUESTION, Server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.base) as opened:
        yield opened


def test_a_question_is_asked_and_answered_in_one_call(client: Client) -> None:
    events: list[dict[str, Any]] = []
    debate = client.ask(QUESTION, agents=["demo", "demo"], rounds=1, on_event=events.append)
    assert debate["status"] == "completed"
    assert debate["final_answer"]
    assert debate["messages"]
    seqs = [event["seq"] for event in events if "seq" in event]
    assert seqs == list(range(1, debate["last_seq"] + 1))
    assert any(event["type"] == "token_delta" for event in events)


def test_debates_are_read_listed_exported_cancelled_and_removed(client: Client) -> None:
    ids = [client.create({"question": QUESTION, "agents": ["demo"] * 2, "rounds": 10})["debate_id"] for _ in range(3)]
    assert {debate["id"] for debate in client.debates(limit=2)} >= set(ids)
    assert client.cancel(ids[0])["status"] == "cancelled"
    assert [event["type"] for event in client.watch(ids[0])][-1] == "debate_end"
    assert QUESTION.encode() in client.export(ids[0], "txt", "summary")
    client.delete(ids[0])
    with pytest.raises(Refused) as gone:
        client.debate(ids[0])
    assert gone.value.status == 404
    assert "demo" in [agent["name"] for agent in client.agents()["agents"]]
    assert client.estimate({"question": QUESTION, "agents": ["demo"] * 2})


def test_a_token_opens_a_guarded_server(guarded: Server) -> None:
    with Client(guarded.base, token="first-token") as known:
        assert known.page()["debates"] is not None
    with Client(guarded.base) as stranger, pytest.raises(Refused, match="401"):
        stranger.page()
