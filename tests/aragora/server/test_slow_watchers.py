"""A watcher that does not read: held back, told why, and no burden meanwhile; here with patience cut short."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import websocket as client_library
from prometheus_client import values

from aragora import settings
from aragora.debate.events import Draft, EventType
from aragora.server import async_watchers, process, websocket
from aragora.server.context import KEY, RequestContext
from aragora.service import NewDebate

EVENTS = 60
CONTENT = "x" * 40_000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[process.Process]:
    """This process, serving a store of its own without advancing debates."""
    # What counting over processes sets for the whole interpreter is taken back afterwards.
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    built = process.Process.build(settings.load({"ARAGORA_DATA_DIR": str(tmp_path), "ARAGORA_RUNNER": "0"}))
    monkeypatch.setattr(process, "_current", built)
    try:
        yield built
    finally:
        built.drain(0)
        built.close()


@pytest.fixture
def debate_id(here: process.Process) -> str:
    """A debate with more text than any socket's buffers take."""
    new = NewDebate.parse({"question": "Should slow watchers be waited for?", "agents": ["demo"] * 2})
    record = here.debates.create(new)
    drafts = [Draft(EventType.AGENT_MESSAGE, 1, "demo-1", {"content": CONTENT}) for _ in range(EVENTS)]
    here.store.append(record.id, 0, drafts, lease=None, at=time.time())
    return record.id


def served_socket(here: process.Process) -> tuple[client_library.WebSocket, threading.Thread]:
    """A client whose kernel takes little, and the thread that serves it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.settimeout(20)
    client.connect(listener.getsockname())
    sock, _ = listener.accept()
    listener.close()
    environ: dict[str, Any] = {KEY: RequestContext(connection=sock, request_id="slow"), "PATH_INFO": "/ws"}
    head = {"Host": "x", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    head["Sec-WebSocket-Key"] = "c2l4dGVlbiBieXRlcyEhIQ=="
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in head.items()}

    def serve() -> None:
        with sock:
            websocket.serve(environ, lambda *_: None)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(1)
    assert answer.startswith(b"HTTP/1.1 101"), here
    spoken = client_library.WebSocket()
    spoken.sock = client
    spoken.connected = True
    return spoken, thread


def test_a_watcher_that_takes_nothing_is_closed_with_a_code(
    here: process.Process, debate_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "STALL_SECONDS", 0.4)
    client, thread = served_socket(here)
    client.send(json.dumps({"type": "subscribe", "debate_id": debate_id, "replay_from_seq": 0}))
    thread.join(20)
    assert not thread.is_alive()
    assert len(here.watchers) == 0
    seqs = []
    while True:
        kind, content = client.recv_data()
        if kind == client_library.ABNF.OPCODE_CLOSE:
            break
        seqs.append(json.loads(content).get("seq"))
    assert int.from_bytes(content[:2], "big") == 1013
    seen = [seq for seq in seqs if seq]
    assert seen == list(range(1, len(seen) + 1))
    assert 0 < len(seen) < EVENTS
    client.shutdown()


def test_a_watcher_that_is_only_slow_gets_everything(here: process.Process, debate_id: str) -> None:
    client, thread = served_socket(here)
    client.send(json.dumps({"type": "subscribe", "debate_id": debate_id, "replay_from_seq": 0}))
    seqs: list[int] = []
    while len(seqs) < EVENTS:
        seq = json.loads(client.recv()).get("seq")
        if seq:
            seqs.append(seq)
            time.sleep(0.005)  # a slow watcher is what this is about
    assert seqs == list(range(1, EVENTS + 1))
    client.send_close()
    thread.join(20)
    assert not thread.is_alive()
    client.shutdown()


def test_stalled_async_watcher_is_closed_with_a_code(
    here: process.Process, debate_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_watchers, "STALL_SECONDS", 0.4)
    sent: list[dict[str, Any]] = []

    async def watch() -> None:
        spoken = asyncio.Queue[dict[str, Any]]()
        spoken.put_nowait({"type": "websocket.connect"})
        subscribe = {"type": "subscribe", "debate_id": debate_id, "replay_from_seq": 0}
        spoken.put_nowait({"type": "websocket.receive", "text": json.dumps(subscribe)})

        async def send(message: Any) -> None:
            sent.append(dict(message))
            if len(sent) == 20:
                await asyncio.Event().wait()  # takes nothing more

        with ThreadPoolExecutor(2) as executor:
            scope = {"type": "websocket", "path": "/ws", "headers": [], "subprotocols": []}
            conversation = async_watchers.AsyncSession(
                scope, spoken.get, send, async_watchers.Wakeup(), async_watchers.Pool(executor)
            )
            await conversation.run("slow")

    asyncio.run(watch())
    assert sent[-1]["type"] == "websocket.close"
    assert sent[-1]["code"] == 1013
    assert len(here.watchers) == 0
