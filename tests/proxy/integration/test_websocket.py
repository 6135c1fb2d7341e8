"""WebSockets through the gateway: two client libraries to a real server, and raw bytes both ways."""

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import websockets

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration import upstreams
from tests.proxy.integration.conversation import converse
from tests.proxy.integration.exchange import PATIENCE, Client
from tests.proxy.integration.scripted import read_until
from tests.waiting import until

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: case.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway before uvicorn."""
    folder = tmp_path_factory.mktemp("echo")
    with contextlib.closing(upstreams.application("uvicorn", folder)) as behind:
        gateway = serve(folder / "gateway", behind.address)
        yield gateway
        gateway.close()


@pytest.mark.component("uvicorn")
def test_websocket_client(echo: Gateway) -> None:
    converse(echo.port)


@pytest.mark.component("uvicorn")
def test_websockets_library(echo: Gateway) -> None:
    async def talk(number: int) -> bool:
        address = f"ws://127.0.0.1:{echo.port}/ws"
        async with websockets.connect(address, max_size=None) as connection:
            sizes = [1, 125, 126, 65_535, 65_536, 200_000]
            for size in sizes:
                payload = os.urandom(size)
                await connection.send(payload)
                if await connection.recv() != payload:
                    return False
            for index in range(50):
                await connection.send(f"{number}-{index}")
            return [await connection.recv() for _ in range(50)] == [f"{number}-{index}" for index in range(50)]

    async def run() -> list[bool]:
        return await asyncio.gather(*(talk(number) for number in range(20)))

    assert all(asyncio.run(run()))


class Raw:
    """An upstream for one tunnel: the test holds its end of it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self, reply: bytes = SWITCH) -> tuple[socket.socket, bytes]:
        """Take the handshake and answer it; the connection, and the bytes that came behind the head."""
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE)
        head = read_until(sock, b"\r\n\r\n")
        assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
        sock.sendall(reply)
        return sock, head.partition(b"\r\n\r\n")[2]


Opened = tuple[Client, socket.socket, Gateway]


@pytest.fixture
def tunnel(start: Callable[..., Gateway]) -> Iterator[Callable[..., Opened]]:
    """Open one tunnel; both its ends."""
    raw = Raw()
    kept: list[socket.socket] = [raw.listener]

    def begin(*flags: str, early: bytes = b"", late: bytes = b"", **how: object) -> Opened:
        gateway = start(raw.address, "--half-close-timeout", "1", *flags, **how)
        client = Client(gateway.address)
        client.send(HANDSHAKE + early)
        upstream, behind = raw.accept(SWITCH + late)
        kept.extend((client.sock, upstream))
        answer = client.answer()
        assert answer.status == 101
        assert answer.field("Sec-WebSocket-Protocol") == "chat"
        assert read(upstream, len(early) - len(behind)) == early[len(behind) :]
        return client, upstream, gateway

    yield begin
    for sock in kept:
        sock.close()


def read(sock: socket.socket, count: int) -> bytes:
    """Exactly so many bytes, fewer at the end."""
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def frame(payload: bytes) -> bytes:
    """A masked binary frame (the mask is zero)."""
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x82" + size + bytes(4) + payload


def test_bytes_behind_the_handshakes_come_first(tunnel: Callable[..., Opened]) -> None:
    client, upstream, _ = tunnel(early=frame(b"early"), late=b"\x82\x04late")
    assert client._take(6) == b"\x82\x04late"
    client.send(frame(b"next"))
    assert read(upstream, 10) == frame(b"next")


def test_half_close_delivers_what_is_still_said(tunnel: Callable[..., Opened]) -> None:
    client, upstream, _ = tunnel()
    client.sock.shutdown(socket.SHUT_WR)
    assert upstream.recv(1) == b""
    upstream.sendall(b"\x82\x04last")
    upstream.close()
    assert client._take(6) == b"\x82\x04last"
    assert client.at_end()


def test_half_closed_tunnel_ends_after_its_timeout(tunnel: Callable[..., Opened]) -> None:
    client, upstream, _ = tunnel()
    client.sock.shutdown(socket.SHUT_WR)
    assert upstream.recv(1) == b""
    client.sock.settimeout(9)  # less than without the flag
    assert client.at_end()


def test_reset_of_one_side_ends_the_other_behind_what_was_said(tunnel: Callable[..., Opened]) -> None:
    client, upstream, gateway = tunnel()
    upstream.sendall(b"\x82\x04last")
    assert client.sock.recv(6, socket.MSG_PEEK) == b"\x82\x04last"
    upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    upstream.close()
    assert client._take(6) == b"\x82\x04last"
    assert client.at_end()
    client.sock.close()
    assert until(gateway.logged, "the log line")[-1]["termination"] == "ST"


def test_slow_reader_holds_the_sender_back(tunnel: Callable[..., Opened]) -> None:
    client, upstream, gateway = tunnel()
    before = resident(gateway)
    upstream.setblocking(False)
    payload = b"\x82\x7e" + (60_000).to_bytes(2, "big") + bytes(60_000)
    sent, stalled = 0, 0
    while stalled < 20 and sent < 100_000_000:
        try:
            sent += upstream.send((payload * 2)[sent % len(payload) :][: len(payload)])
            stalled = 0
        except BlockingIOError:
            stalled += 1
            threading.Event().wait(0.01)
    assert sent < 50_000_000, "nothing holds the sender back"
    assert resident(gateway) - before < 20_000, "the gateway keeps what the client does not take"
    data = client._take(sent)
    assert len(data) == sent
    assert data[: len(payload)] == payload


def resident(gateway: Gateway) -> int:
    """KiB of the worker."""
    lines = Path(f"/proc/{gateway.workers()[0]}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_silence_ends_with_a_close_frame(tunnel: Callable[..., Opened]) -> None:
    client, upstream, _ = tunnel("--websocket-timeout", "1s")
    assert client._take(4) == b"\x88\x02" + (1001).to_bytes(2, "big")
    assert upstream.recv(2) == b"\x88\x82"


def test_a_client_that_does_not_answer_pings_is_closed(tunnel: Callable[..., Opened]) -> None:
    client, upstream, gateway = tunnel("--websocket-ping", "1s", "--websocket-ping-timeout", "1s", admin=True)
    ping = client._take(10)
    assert ping[:2] == b"\x89\x08"
    asked = read(upstream, 14)
    assert asked[:2] == b"\x89\x88"
    payload = bytes(byte ^ asked[2 + place % 4] for place, byte in enumerate(asked[6:]))
    upstream.sendall(b"\x8a\x08" + payload + b"\x82\x02hi")
    assert client._take(4) == b"\x82\x02hi"
    close = (1011).to_bytes(2, "big") + b"no answer to a ping"
    assert client._take(23) == b"\x88\x15" + close
    client.sock.close()
    upstream.close()
    line = until(gateway.logged, "the log line")[-1]
    assert (line["termination"], line["reason"]) == ("cT", "ping_timeout")
    assert gateway.metric('failures_total{reason="ping_timeout"}') == 1


def test_stopping_puts_close_frames_between_frames_only(tunnel: Callable[..., Opened]) -> None:
    client, upstream, gateway = tunnel("--graceful", "60s", "--websocket-drain", "60s")
    whole = b"\x82\x7e" + (1000).to_bytes(2, "big") + bytes(1000)
    upstream.sendall(whole[:500])
    assert client._take(500) == whole[:500]
    gateway.signal(15)
    assert upstream.recv(8)[:2] == b"\x88\x82"
    upstream.sendall(whole[500:])
    assert client._take(504) == whole[500:]
    assert client._take(4) == b"\x88\x02" + (1001).to_bytes(2, "big")
    client.sock.close()
    upstream.close()
    assert until(lambda: gateway.process.poll() is not None, "the gateway ended")
    assert gateway.process.returncode == 0


def test_dead_upstream_is_told_to_the_client_as_http(start: Callable[..., Gateway]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gateway = start(f"127.0.0.1:{closed.getsockname()[1]}", "--retry-wait", "0")
        with Client(gateway.address) as client:
            client.send(HANDSHAKE)
            assert client.answer().status == 502
