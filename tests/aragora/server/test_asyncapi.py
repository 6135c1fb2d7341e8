"""The description of the WebSocket: what clients and server send each other is what it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from aragora.debate.events import EventType
from aragora.server import asyncapi
from aragora.server.audit import Caller
from aragora.server.process import Process
from aragora.server.session import Session
from aragora.settings import load
from tests.aragora.server import council
from tests.aragora.server.servers import Server, Socket, running
from tests.aragora.storage.debates import spec
from tests.conftest import CACHE

EVERY = set(asyncapi.document()["components"]["messages"])
RARE = {"heartbeat", "event.agent_waiting", "event.agent_error", "event.synthesis"}
SCHEMA = CACHE / "pages/node_modules/@asyncapi/specs/schemas/3.0.0.json"


def described(name: str) -> Draft7Validator:
    """A validator of the messages that the document calls so."""
    found = asyncapi.document()["components"]
    return Draft7Validator({**found["messages"][name]["payload"], "components": found})


def named(kind: str) -> str:
    """What the document calls a message that the server sends."""
    return f"event.{kind}" if kind in set(EventType) else kind


def conversation(client: Socket, debate_id: str, running: str) -> list[tuple[str, dict[str, Any]]]:
    """Everything that both said, with its name: each request once, until the last of its responses."""
    said: list[tuple[str, dict[str, Any]]] = []

    def ask(until: str, **message: Any) -> None:
        said.append((message["type"], message))
        client.send(**message)
        while not said or said[-1][0] != until:
            found = client.receive()
            said.append((named(found["type"]), found))

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
    assert {name for name, _ in said} == EVERY - RARE


def test_events_of_models_that_fail_wait_or_sum_up_fit(tmp_path: Path) -> None:
    agents = [{"type": "llamacpp", "model": "stuck", "name": f"Agent {letter}"} for letter in "AB"]
    agents += [{"type": "openai", "model": "broken"}, {"type": "openai", "model": "markdown", "role": "chairman"}]
    said: list[dict[str, Any]] = []
    with council.provider() as models:
        environ = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": models.base, "LLAMACPP_BASE_URL": models.base}
        with running("gunicorn", tmp_path, **environ) as started, started.greeted() as client:
            client.send(type="subscribe", debate_id=started.ask(agents=agents, rounds=1), replay_from_seq=0)
            while not said or said[-1]["type"] != "debate_end":
                said.append(client.receive())
                if said[-1]["type"] == "agent_waiting":
                    models.released.set()
    for message in said:
        described(named(message["type"])).validate(message)
    assert {named(message["type"]) for message in said} >= RARE - {"heartbeat"}


def test_the_sign_of_life_is_what_is_described(tmp_path: Path) -> None:
    here = Process.build(load({"ARAGORA_DATA_DIR": str(tmp_path), "ARAGORA_RUNNER": "0"}))
    try:
        session = Session(here, lambda: None, Caller("203.0.113.9", here.access.principal(None), "someone", "r1"))
        session.receive(json.dumps({"type": "subscribe", "debate_id": here.store.create(spec()).id}))
        message = json.loads(session.heartbeat())
    finally:
        here.drain(0)
        here.close()
    assert len(message["data"]["last_seq"]) == 1
    described("heartbeat").validate(message)


def test_the_server_serves_the_description(server: Server) -> None:
    assert server.get("/api/asyncapi.json").json() == asyncapi.document()


@pytest.mark.component("pages")
def test_the_description_is_valid_asyncapi() -> None:
    Draft7Validator(json.loads(SCHEMA.read_text())).validate(asyncapi.document())
