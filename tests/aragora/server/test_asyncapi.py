"""The description of the WebSocket: what clients and server send each other is what it says."""

import json
from typing import Any

import pytest
from jsonschema import Draft7Validator

from aragora.debate.events import EventType
from aragora.server import asyncapi
from tests.aragora.server.servers import Server, Socket
from tests.conftest import CACHE

SCHEMA = CACHE / "pages/node_modules/@asyncapi/specs/schemas/3.0.0.json"


def described(name: str) -> Draft7Validator:
    """A validator of the messages that the document calls so."""
    found = asyncapi.document()["components"]
    return Draft7Validator({**found["messages"][name]["payload"], "components": found})


def conversation(client: Socket, debate_id: str, running: str) -> list[tuple[str, dict[str, Any]]]:
    """Everything that both said, with its name: each request once, until the last of its responses."""
    said: list[tuple[str, dict[str, Any]]] = []

    def ask(until: str, **message: Any) -> None:
        said.append((message["type"], message))
        client.send(**message)
        while not said or said[-1][0] != until:
            found = client.receive()
            kind = found["type"]
            said.append((f"event.{kind}" if kind in set(EventType) else kind, found))

    ask("replay_end", type="subscribe", debate_id=debate_id, replay_from_seq=0)
    ask("pong", type="ping", ts=1.5)
    ask("loop_list", type="get_loops")
    ask("ack", type="unsubscribe", debate_id=debate_id)
    ask("token_delta", type="subscribe", debate_id=running, replay_from_seq=0)
    ask("event.user_suggestion", type="user_suggestion", debate_id=running, text="Measure first.")
    ask("event.user_vote", type="user_vote", debate_id=running, choice="demo-1")
    ask("error", type="user_vote", debate_id=running, choice="nobody of this name")
    ask("event.debate_end", type="cancel", debate_id=running)
    return said


def test_both_sides_say_what_is_described(server: Server) -> None:
    with server.socket() as client:
        said = [(message["type"], message) for message in (client.receive(), client.receive())]
        said += conversation(client, server.debate["id"], server.ask(rounds=10, early_stop=False))
    for name, message in said:
        described(name).validate(message)
    rare = {"heartbeat", "event.agent_waiting", "event.agent_error", "event.synthesis"}
    assert {name for name, _ in said} == set(asyncapi.document()["components"]["messages"]) - rare


def test_the_server_serves_the_description(server: Server) -> None:
    assert server.get("/api/asyncapi.json").json() == asyncapi.document()


@pytest.mark.component("pages")
def test_the_description_is_valid_asyncapi() -> None:
    Draft7Validator(json.loads(SCHEMA.read_text())).validate(asyncapi.document())
