"""The WebSocket contract, the same from every kind of server."""

import base64
import os
import random
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.aragora.server.servers import KINDS, PATIENCE, QUESTION, Server, Socket, running
from tests.waiting import until


def follow(client: Socket, debate_id: str, since: int = 0) -> list[dict[str, Any]]:
    """Subscribe, and return every event up to the debate's end."""
    client.send(type="subscribe", debate_id=debate_id, replay_from_seq=since)
    events = []
    while not events or events[-1]["type"] != "debate_end":
        message = client.receive()
        if "seq" in message:
            events.append(message)
    return events


def test_greeting(server: Server) -> None:
    with server.socket() as client:
        info = client.receive()
        assert info["type"] == "connection_info"
        assert info["data"]["client_id"]
        assert info["data"]["authenticated"] is False
        assert client.receive()["type"] == "loop_list"


def test_live_events_come_once_and_in_order(server: Server) -> None:
    with server.greeted() as client:
        debate_id = server.ask(rounds=1)
        events = follow(client, debate_id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    stored = server.get(f"/api/debates/{debate_id}/events").json()["events"]
    assert events == stored


def test_replay_is_framed_and_resumes_where_it_was_left(server: Server) -> None:
    debate = server.debate
    with server.greeted() as client:
        client.send(type="subscribe", debate_id=debate["id"], replay_from_seq=7)
        sync = client.receive()
        assert sync["type"] == "sync"
        assert sync["data"]["status"] == "completed"
        start = client.receive()
        assert start["type"] == "replay_start"
        assert start["data"] == {"from_seq": 7, "latest_seq": debate["last_seq"], "event_count": debate["last_seq"] - 7}
        replayed = [client.receive() for _ in range(debate["last_seq"] - 7)]
        assert [event["seq"] for event in replayed] == list(range(8, debate["last_seq"] + 1))
        end = client.receive()
        assert end["type"] == "replay_end"
        assert end["data"] == {"replayed_count": len(replayed), "latest_seq": debate["last_seq"]}


def test_watcher_that_keeps_reconnecting_misses_nothing(server: Server) -> None:
    debate_id = server.ask(rounds=1)
    seen: list[int] = []
    while True:
        with server.greeted() as client:
            client.send(type="subscribe", debate_id=debate_id, replay_from_seq=len(seen))
            fresh = 0
            while fresh < 3:
                message = client.receive()
                if "seq" in message:
                    seen.append(message["seq"])
                    fresh += 1
                    if message["type"] == "debate_end":
                        assert seen == list(range(1, len(seen) + 1))
                        return


def test_several_debates_on_one_connection(server: Server) -> None:
    debates = [server.ask(rounds=1) for _ in range(3)]
    seen: dict[str, list[int]] = {debate_id: [] for debate_id in debates}
    ended = 0
    with server.greeted() as client:
        for debate_id in debates:
            client.send(type="subscribe", debate_id=debate_id, replay_from_seq=0)
        while ended < len(debates):
            message = client.receive()
            if "seq" in message:
                seen[message["debate_id"]].append(message["seq"])
                ended += message["type"] == "debate_end"
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in seen.values())


def test_the_small_messages(server: Server) -> None:
    debate_id = server.debate["id"]
    with server.greeted() as client:
        client.send(type="ping", ts=12.5)
        pong = client.receive()
        assert (pong["type"], pong["ts"]) == ("pong", 12.5)
        client.send(type="get_loops")
        assert client.receive()["type"] == "loop_list"
        client.send(type="subscribe", debate_id=debate_id)
        assert client.receive()["type"] == "sync"
        client.send(type="unsubscribe", debate_id=debate_id)
        assert client.receive()["data"]["action"] == "unsubscribe"
        client.send(type="unsubscribe", debate_id=debate_id)
        assert client.receive()["error"]["code"] == "not_found"


def test_people_take_part_and_cancel(server: Server) -> None:
    debate_id = server.ask(rounds=10, early_stop=False)
    with server.greeted() as client:
        client.send(type="subscribe", debate_id=debate_id, replay_from_seq=0)
        client.send(type="user_vote", debate_id=debate_id, choice="demo-1")
        vote = client.until("ack")["data"]
        assert vote["action"] == "user_vote"
        client.send(type="user_suggestion", loop_id=debate_id, payload={"text": "Think of the auditors."})
        suggestion = client.until("ack")["data"]
        assert suggestion["seq"] > vote["seq"]
        client.send(type="user_vote", debate_id=debate_id, choice="nobody")
        assert client.until("error")["error"]["details"][0]["field"] == "choice"
        client.send(type="user_suggestion", debate_id=debate_id, text="x" * 2001)
        assert client.until("error")["error"]["code"] == "validation_error"
        client.send(type="cancel", debate_id=debate_id)
        assert client.until("ack")["data"] == {"action": "cancel", "status": "cancelled"}
        client.send(type="cancel", loop_id=debate_id)
        refusal = client.until("error")
        assert refusal["error"]["code"] == "debate_ended"
        assert refusal["debate_id"] == debate_id
    events = server.get(f"/api/debates/{debate_id}/events").json()["events"]
    kinds = {event["seq"]: event["type"] for event in events}
    assert kinds[vote["seq"]] == "user_vote"
    assert kinds[suggestion["seq"]] == "user_suggestion"
    assert events[-1]["data"]["status"] == "cancelled"


def test_a_debate_that_does_not_exist(server: Server) -> None:
    with server.greeted() as client:
        client.send(type="subscribe", debate_id="adhoc_00000000000000000000000000")
        assert client.receive()["error"]["code"] == "not_found"
        assert client.closed() == 4004
    with server.greeted() as client:
        client.send(type="subscribe", debate_id=server.debate["id"])
        assert client.receive()["type"] == "sync"
        client.send(type="subscribe", debate_id="../../etc/passwd")
        assert client.receive()["error"]["code"] == "not_found"
        client.send(type="ping")
        assert client.receive()["type"] == "pong"


def test_a_debate_that_is_deleted_while_it_is_watched(server: Server) -> None:
    debate_id = server.ask(rounds=10, early_stop=False)
    with server.greeted() as client:
        client.send(type="subscribe", debate_id=debate_id)
        client.until("sync")
        assert server.request("DELETE", f"/api/debates/{debate_id}").status_code == 204
        assert client.until("error")["error"]["code"] == "not_found"
        assert client.closed() == 4004


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"subscribe"',
        "{}",
        '{"type": 1}',
        '{"type": "unknown"}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "debate_id": 7}',
        '{"type": "subscribe", "debate_id": "x", "replay_from_seq": -1}',
        '{"type": "subscribe", "debate_id": "x", "replay_from_seq": true}',
        '{"type": "ping", "ts": "now"}',
        '{"type": "ping", "ts": NaN}',
        '{"type": "user_vote", "debate_id": "x", "payload": []}',
        '{"type": "user_suggestion", "debate_id": "x", "text": "\\u0000"}',
        '{"type": "user_suggestion", "debate_id": "x", "text": "\\ud800"}',
        "[" * 60_000,
    ],
)
def test_what_makes_no_sense_is_answered_and_survived(server: Server, text: str) -> None:
    with server.greeted() as client:
        client.raw.send(text)
        error = client.receive()
        assert error["type"] == "error"
        assert error["error"]["message"]
        client.send(type="ping")
        assert client.receive()["type"] == "pong"


def test_messages_that_end_the_conversation(server: Server) -> None:
    with server.greeted() as client:
        client.raw.send_binary(b"{}")
        assert client.closed() == 1003
    with server.greeted() as client:
        client.raw.send("x" * 65_537)
        assert client.closed() == 1009
    with server.greeted() as client:
        for _ in range(200):
            client.send(type="ping")
        assert client.closed() == 4029


def test_fragments_and_pings_between_them(server: Server) -> None:
    with server.greeted() as client:
        first, second = '{"type": "pi', 'ng", "ts": 3}'
        client.raw.send_frame(websocket.ABNF(0, 0, 0, 0, websocket.ABNF.OPCODE_TEXT, 1, first.encode()))
        client.raw.ping("between")
        kind, content = client.raw.recv_data(control_frame=True)
        assert (kind, content) == (websocket.ABNF.OPCODE_PONG, b"between")
        client.raw.send_frame(websocket.ABNF(1, 0, 0, 0, websocket.ABNF.OPCODE_CONT, 1, second.encode()))
        assert client.receive()["ts"] == 3


def test_a_client_that_closes_is_answered(server: Server) -> None:
    with server.greeted() as client:
        client.raw.send_close(1000)
        assert client.closed() == 1000


HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)


def raw_client(server: Server) -> socket.socket:
    """A connection after the handshake, to be treated badly."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    client.sendall(HANDSHAKE.format(key=base64.b64encode(os.urandom(16)).decode()).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    assert head.startswith(b"HTTP/1.1 101")
    return client


def test_bytes_that_are_no_frames(server: Server) -> None:
    chance = random.Random(8)
    shapes = [
        bytes([0x81, 0x05]) + b"plain",  # not masked
        bytes([0xF1, 0x80]) + b"\0\0\0\0",  # reserved bits
        bytes([0x83, 0x80]) + b"\0\0\0\0",  # unknown opcode
        bytes([0x80, 0x80]) + b"\0\0\0\0",  # continues nothing
        bytes([0x89, 0xFE]) + struct.pack("!H", 200) + b"\0" * 204,  # long ping
        bytes([0x81, 0xFF]) + struct.pack("!Q", 1 << 62) + b"\0" * 64,  # endless
        bytes([0x81, 0x82]) + b"\0\0\0\0\xff\xff",  # not UTF-8
        bytes([0x88, 0x81]) + b"\0\0\0\0\x03",  # half a close code
        *(chance.randbytes(chance.randrange(1, 400)) for _ in range(20)),
    ]
    for shape in shapes:
        with raw_client(server) as client, suppress(ConnectionResetError):
            client.sendall(shape)
            with suppress(OSError):  # the server may have been quicker and have ended the connection
                client.shutdown(socket.SHUT_WR)
            while client.recv(65_536):
                pass
    assert server.get("/healthz").ok
    with server.greeted() as client:
        client.send(type="ping")
        assert client.receive()["type"] == "pong"


def test_bad_handshakes_are_refused(server: Server) -> None:
    for change in ("Sec-WebSocket-Version: 12", "Sec-WebSocket-Ke: x"):
        name = change.partition(":")[0][:-2]
        head = "\r\n".join(
            change if line.startswith(name) else line for line in HANDSHAKE.format(key="x" * 24).split("\r\n")
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            client.sendall(head.encode())
            assert client.recv(4096).split(b" ")[1] in (b"400", b"426")


def test_connections_are_counted(server: Server) -> None:
    name = "aragora_websocket_connections"
    until(lambda: server.metric(name) == 0, "the server sees that the connections of other tests ended")
    with server.greeted(), server.greeted():
        assert server.metric(name) == 2
    until(lambda: server.metric(name) == 0, "the server sees that both ended")
    assert server.metric("aragora_websocket_messages_total") > 0


@pytest.mark.parametrize("kind", [*KINDS, "gunicorn-asgi", "gunicorn-uvicorn"])
def test_a_stopping_server_sends_its_watchers_away(kind: str, tmp_path: Path) -> None:
    with running(kind, tmp_path, ARAGORA_WORKLOAD="1") as server:
        debate_id = server.ask(rounds=2, early_stop=False)
        with server.greeted() as client:
            client.send(type="subscribe", debate_id=debate_id, replay_from_seq=0)
            while client.receive().get("seq") != 3:
                pass
            server.http.close()
            server.process.terminate()
            assert client.closed() == 1001
        assert server.process.wait(30) in (0, -15), server.log.read_text()
        assert "Traceback" not in server.log.read_text()
    if kind != "dev":
        return
    with running("dev", tmp_path) as server, server.greeted() as client:
        events = follow(client, debate_id, since=3)
        assert [event["seq"] for event in events] == list(range(4, 4 + len(events)))
        assert events[-1]["data"]["status"] == "completed"
        assert server.get(f"/api/debates/{debate_id}").json()["task"] == QUESTION
