"""After a 101 nothing but WebSocket is written, whatever fails beneath: a close code says what became of it."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from tests.aragora.server.servers import KINDS, PATIENCE, Server, running

GREETING_FAILS = "ALTER TABLE debates RENAME TO lost"
REPLAY_FAILS = "DROP TABLE events"
REPLAY_CANNOT_BE_READ = "UPDATE events SET data = '{'"


@pytest.fixture(params=KINDS)
def failing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server whose database a test may break."""
    with running(request.param, tmp_path, ARAGORA_POLL_INTERVAL="10", ARAGORA_RUNNER="1") as started:
        yield started


def break_with(server: Server, statement: str) -> None:
    with closing(sqlite3.connect(server.data / "aragora.db")) as database, database:
        database.execute(statement)


def everything_said(server: Server, debate_id: str) -> tuple[list[str], int | None]:
    """Subscribe from the beginning; what came, read by a strict client, and the code it ended with."""
    client = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(client.send(Request(host=f"127.0.0.1:{server.port}", target="/ws")))
        texts: list[str] = []
        code = None
        while received := sock.recv(65536):
            client.receive_data(received)
            for event in client.events():
                if isinstance(event, AcceptConnection):
                    asked = f'{{"type": "subscribe", "debate_id": "{debate_id}", "replay_from_seq": 0}}'
                    sock.sendall(client.send(TextMessage(asked)))
                elif isinstance(event, TextMessage):
                    texts.append(event.data)
                elif isinstance(event, CloseConnection):
                    code = event.code
                    sock.sendall(client.send(event.response()))
    return texts, code


@pytest.mark.parametrize(
    ("statement", "greeted", "expected"),
    [(GREETING_FAILS, False, 1013), (REPLAY_FAILS, True, 1013), (REPLAY_CANNOT_BE_READ, True, 1011)],
)
def test_a_failure_is_told_by_a_close_code(failing: Server, statement: str, greeted: bool, expected: int) -> None:
    debate = failing.finished()
    break_with(failing, statement)
    texts, code = everything_said(failing, debate["id"])
    assert code == expected
    assert any("connection_info" in text for text in texts) is greeted
    log = failing.log.read_text()
    assert "ASGI callable returned" not in log
    assert "Error handling request" not in log
