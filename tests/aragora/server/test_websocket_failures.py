"""After a 101 nothing but WebSocket is written, whatever fails beneath: a close code says what became of it."""

import json
import shutil
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import websocket
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from tests.aragora.server.servers import PATIENCE, THOROUGH, Server, Socket, running
from tests.aragora.storage.databases import PostgreSQL
from tests.waiting import until

GREETING_FAILS = "ALTER TABLE debates RENAME TO lost"
REPLAY_FAILS = "DROP TABLE events"
REPLAY_CANNOT_BE_READ = "UPDATE events SET data = '{'"


@pytest.fixture(params=THOROUGH)
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


@pytest.mark.component("postgresql")
@pytest.mark.parametrize("kind", THOROUGH)
def test_database_crash_sends_watchers_only_websocket_frames(kind: str, tmp_path: Path) -> None:
    database = PostgreSQL()
    try:
        database.start()
        environ = {"ARAGORA_DATABASE_TIMEOUT": "2", "ARAGORA_DEMO_DELAY": "0.1"}
        with running(kind, tmp_path, DATABASE_URL=database.new_database(), **environ) as server, ExitStack() as stack:
            debate = server.ask(rounds=10, early_stop=False)
            watchers = [stack.enter_context(server.greeted()) for _ in range(6)]
            for watcher in watchers:
                watcher.send(type="subscribe", debate_id=debate, replay_from_seq=0)
                watcher.until("round_start")
            assert database.process is not None
            database.process.send_signal(signal.SIGQUIT)  # PostgreSQL's immediate shutdown: a crash
            database.process.wait(PATIENCE)
            database.process = None
            for watcher in watchers:
                # Whoever has to ask the database is closed; whoever does not goes on, and is told when it asks.
                assert told_or_closed(watcher) in ("unavailable", 1013)
            with server.socket() as late:
                assert late.closed() == 1013
            database.start()
            server.await_ready()
            until(lambda: not server.get(f"/api/debates/{debate}").json()["in_progress"], "the end of the debate")
            assert server.get(f"/api/debates/{debate}").json()["status"] == "completed"
    finally:
        database.stop()
        shutil.rmtree(database.directory, ignore_errors=True)


def told_or_closed(watcher: Socket) -> str | int:
    """What the watcher learns of the database that is away: an error's code, or a close code."""
    with suppress(OSError):
        watcher.send(type="get_loops")
    while True:
        kind, content = watcher.raw.recv_data()
        if kind == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(content[:2], "big")
        message = json.loads(content)
        if message["type"] == "error":
            return str(message["error"]["code"])
