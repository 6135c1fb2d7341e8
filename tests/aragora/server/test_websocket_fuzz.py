"""Frames and messages that no client sends: the connection may end, the process and its other clients do not notice."""

import json
import os
import random
import struct
from typing import Any

import websocket

from tests.aragora.server.servers import Server

# Connections. A thorough run: ARAGORA_FUZZ_CASES=2000 pytest tests/aragora/server/test_websocket_fuzz.py
CASES = int(os.environ.get("ARAGORA_FUZZ_CASES", "40"))
TYPES = ("subscribe", "unsubscribe", "get_loops", "ping", "cancel", "user_vote", "user_suggestion", "debate_end", "")
NAMES = ("debate_id", "loop_id", "replay_from_seq", "choice", "reasoning", "text", "payload", "ts", "type")
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 1e308, "", "x" * 5000, "\x00", "\ud800", "../../etc/passwd", "' OR 1=1 --"),
    *("<script>alert(1)</script>", [], {}, [[[[]]]], {"type": "subscribe"}, "adhoc_00000000", "٣"),
)


def message(chance: random.Random) -> bytes:
    """Text that is nearly what the protocol wants."""
    made = {name: chance.choice(ODD) for name in chance.sample(NAMES, chance.randrange(6))}
    made["type"] = chance.choice(TYPES) if chance.random() < 0.9 else chance.choice(ODD)
    text = json.dumps(made).encode()
    match chance.randrange(8):
        case 0:
            return text[: chance.randrange(len(text))]
        case 1:
            return b"[" * chance.randrange(1, 60_000)
        case 2:
            return text.replace(b'"', b"\xff", 1)
        case 3:
            return chance.choice((b"NaN", b"Infinity", b"null", b"1" * 5000, b'"x"', b"[1,2]", b""))
    return text


def frame(chance: random.Random) -> bytes:
    """A frame as RFC 6455 section 5.2 has it, or with some of its bits and its length wrong."""
    payload = message(chance)
    first = 0x81 if chance.random() < 0.6 else chance.randrange(256)
    mask = 0x80 if chance.random() < 0.9 else 0
    length = len(payload) if chance.random() < 0.9 else chance.choice((0, 125, 65_535, 2**31, 2**63 - 1, 2**64 - 1))
    if length < 126:
        head = struct.pack("!BB", first, mask | length)
    elif length < 65_536:
        head = struct.pack("!BBH", first, mask | 126, length)
    else:
        head = struct.pack("!BBQ", first, mask | 127, length)
    key = chance.randbytes(4)
    if mask:
        payload = bytes(octet ^ key[place % 4] for place, octet in enumerate(payload))
        head += key
    return head + payload


def tracebacks(server: Server) -> int:
    """Those in the log; uvicorn itself writes one for text that is no UTF-8 before it closes with 1007."""
    said = server.log.read_text()
    return said.count("Traceback") - said.count("Invalid UTF-8 sequence received from client.\nTraceback")


def test_no_frame_disturbs_the_server(server: Server) -> None:
    chance = random.Random(6455)
    seen = tracebacks(server)
    with server.greeted() as bystander:
        for case in range(CASES):
            with server.socket() as client:
                client.raw.settimeout(0.05)
                try:
                    for _ in range(chance.randrange(1, 8)):
                        client.raw.sock.sendall(frame(chance))
                    while True:
                        kind, content = client.raw.recv_data()
                        assert b"Traceback" not in content, case
                        if kind == websocket.ABNF.OPCODE_CLOSE:
                            assert int.from_bytes(content[:2], "big") not in (1006, 1011), (case, content)
                            break
                except (OSError, websocket.WebSocketException):
                    pass  # sent away, or the server waits for the rest of a frame
        bystander.send(type="ping", ts=1)
        assert bystander.until("pong")["ts"] == 1
    assert server.get("/healthz").ok
    assert tracebacks(server) == seen, server.log.read_text()[-3000:]
