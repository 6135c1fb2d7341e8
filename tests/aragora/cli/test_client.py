"""The command line's client against connections that break: it resumes behind the last event, and gives up in time."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.sync.server import ServerConnection, serve

from aragora.commands import client
from aragora.commands.client import Client, Refused, Unreachable
from aragora.settings import load

ID = "adhoc_x"


@contextmanager
def server(answer: object) -> Iterator[Client]:
    with serve(answer, "127.0.0.1", 0) as listening:  # type: ignore[arg-type]
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield Client(load({}), f"http://127.0.0.1:{listening.socket.getsockname()[1]}")
        finally:
            listening.shutdown()
            thread.join()


def event(seq: int, kind: str = "agent_message") -> str:
    return json.dumps({"type": kind, "debate_id": ID, "seq": seq, "data": {}})


def test_a_broken_connection_is_resumed_behind_the_last_event() -> None:
    since: list[int] = []

    def answer(connection: ServerConnection) -> None:
        since.append(json.loads(connection.recv())["replay_from_seq"])
        first = since[-1] + 1
        connection.send(event(max(1, first - 1)))  # one that came before: not shown again
        connection.send(json.dumps({"type": "heartbeat", "data": {}}))
        for seq in range(first, min(first + 2, 7)):
            connection.send(event(seq, "debate_end" if seq == 6 else "agent_message"))

    with server(answer) as there:
        seen = [message["seq"] for message in there.watch(ID)]
    assert seen == [1, 2, 3, 4, 5, 6]
    assert since == [0, 2, 4]


def test_tokens_pass_between_events_and_other_debates_do_not() -> None:
    def answer(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(json.dumps({"type": "token_delta", "debate_id": ID, "data": {"text": "tok"}}))
        connection.send(json.dumps({"type": "agent_message", "debate_id": "other", "seq": 1, "data": {}}))
        connection.send(event(1, "debate_end"))

    with server(answer) as there:
        assert [message["type"] for message in there.watch(ID)] == ["token_delta", "debate_end"]


def test_a_refusal_is_final() -> None:
    def answer(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(json.dumps({"type": "error", "error": {"message": "no such debate"}}))

    with server(answer) as there, pytest.raises(Refused, match="no such debate"):
        list(there.watch(ID))


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.3)
    with pytest.raises(Unreachable, match="does not answer"):
        list(Client(load({}), "http://127.0.0.1:1").watch(ID))
