"""What a WebSocket client and the applications' echo say to one another."""

import os

import websocket

from tests.waiting import PATIENCE


def converse(port: int) -> None:
    """Texts and long messages both ways, a ping, and the end that the application gives."""
    connection = websocket.create_connection(f"ws://127.0.0.1:{port}/ws", timeout=PATIENCE)
    for message in ("hello", "ü" * 1000, "x" * 300_000):
        connection.send(message)
        assert connection.recv() == message
    payload = os.urandom(1_000_000)
    connection.send_binary(payload)
    assert connection.recv() == payload
    connection.ping()
    connection.send("bye")
    opcode, reason = connection.recv_data(control_frame=True)
    while opcode == websocket.ABNF.OPCODE_PONG:
        opcode, reason = connection.recv_data(control_frame=True)
    assert (opcode, int.from_bytes(reason[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1000)
    connection.shutdown()
