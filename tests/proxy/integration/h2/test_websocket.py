"""WebSockets on streams of an HTTP/2 connection (RFC 8441)."""

import base64
import contextlib
import hashlib
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Message, TextMessage

from tests.proxy.gateway import Gateway
from tests.proxy.integration import upstreams
from tests.proxy.integration.h2.raw import CONNECT, GET, Raw
from tests.proxy.integration.scripted import Manual, read_until

Start = Callable[..., Gateway]


class Socket:
    """A WebSocket on one stream of a raw client."""

    def __init__(self, client: Raw, stream: int) -> None:
        self.client = client
        self.stream = stream
        self.frames = Connection(ConnectionType.CLIENT)
        client.send(client.open(stream, [*CONNECT, ("sec-websocket-protocol", "chat"), ("origin", "http://a")]))

    def accepted(self) -> dict[str, str]:
        head = self.client.until(HeadersFrame, stream=self.stream)
        assert "END_STREAM" not in head.flags
        return self.client.fields(head)

    def send(self, message: Message | CloseConnection) -> None:
        data = self.frames.send(message)
        for at in range(0, len(data), 16000):
            self.client.send(DataFrame(self.stream, data=data[at : at + 16000]))

    def receive(self) -> Message | CloseConnection:
        """The next whole message."""
        pieces: list[object] = []
        while True:
            for event in self.frames.events():
                if isinstance(event, CloseConnection):
                    return event
                pieces.append(event.data)
                if event.message_finished:
                    return type(event)(data=type(event.data)().join(pieces))
            data = self.client.until(DataFrame, stream=self.stream)
            if data.data:
                self.client.send(self.client.widen(0, len(data.data)), self.client.widen(self.stream, len(data.data)))
            self.frames.receive_data(data.data or None)


def switch(sock: socket.socket) -> bytes:
    """Take an upgrade as a server; its request."""
    request = read_until(sock, b"\r\n\r\n")
    key = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
    assert key is not None, request
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
    return request


@pytest.mark.component("uvicorn")
def test_a_server_echoes_on_many_streams_beside_requests(start: Start, tmp_path: Path) -> None:
    with contextlib.closing(upstreams.application("uvicorn", tmp_path)) as behind:
        gateway = start(behind.address)
        with Raw(gateway.port) as client:
            sockets = [Socket(client, 1 + 2 * n) for n in range(5)]
            for sock in sockets:
                assert sock.accepted()[":status"] == "200"
            for round_ in range(3):
                for sock in sockets:
                    sock.send(TextMessage(data=f"{sock.stream} {round_}"))
                for sock in sockets:
                    assert sock.receive() == TextMessage(data=f"{sock.stream} {round_}")
            payload = os.urandom(200_000)
            sockets[0].send(BytesMessage(data=payload))
            assert sockets[0].receive() == BytesMessage(data=payload)
            client.send(client.headers(99))
            assert client.response(99)[0][":status"] == "200"
            sockets[1].send(TextMessage(data="bye"))
            closed = sockets[1].receive()
            assert isinstance(closed, CloseConnection)
            assert closed.code == 1000
            sockets[2].send(TextMessage(data="still here"))
            assert sockets[2].receive() == TextMessage(data="still here")


def test_the_upstream_sees_an_upgrade_of_http_1(start: Start, manual: Manual) -> None:
    gateway = start(manual.address)
    with Raw(gateway.port) as client:
        socket_ = Socket(client, 1)
        upstream = manual.accept()
        request = switch(upstream)
        assert request.startswith(b"GET / HTTP/1.1\r\n")
        assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in request
        assert b"sec-websocket-version: 13" in request
        assert b"sec-websocket-protocol: chat" in request
        answer = socket_.accepted()
        assert answer[":status"] == "200"
        assert answer["sec-websocket-protocol"] == "chat"
        assert not {"upgrade", "connection", "sec-websocket-accept", "content-length"} & set(answer)


def test_the_ends_are_passed_on(start: Start, manual: Manual) -> None:
    gateway = start(manual.address)
    with Raw(gateway.port) as client:
        first, second, third = (Socket(client, 1 + 2 * n) for n in range(3))
        ups = [manual.accept() for _ in range(3)]
        for up in ups:
            switch(up)
        for sock in (first, second, third):
            sock.accepted()
        # which upstream connection belongs to which stream
        by_stream = {}
        for up in ups:
            up.sendall(b"\x82\x02hi")
            by_stream[client.until(DataFrame).stream_id] = up
        client.send(DataFrame(1, data=b"last words", flags=["END_STREAM"]))
        got = b""
        while data := by_stream[1].recv(100):
            got += data
        assert got == b"last words"
        by_stream[1].sendall(b"\x88\x00")
        by_stream[1].close()
        assert client.until(DataFrame, stream=1).data == b"\x88\x00"
        assert "END_STREAM" in client.until(DataFrame, stream=1).flags
        client.send(RstStreamFrame(3, error_code=8))
        assert by_stream[3].recv(1) == b""
        by_stream[5].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        by_stream[5].close()
        assert client.until(RstStreamFrame, stream=5).error_code == 8
        assert client.alive()


def test_a_refused_upgrade_is_an_answer(start: Start, manual: Manual) -> None:
    gateway = start(manual.address)
    with Raw(gateway.port) as client:
        Socket(client, 1)
        upstream = manual.accept()
        upstream.recv(65536)
        upstream.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        fields, body = client.response(1)
        assert (fields[":status"], body) == ("403", b"no")


def test_a_reader_that_stops_holds_its_sender_back(start: Start, manual: Manual) -> None:
    gateway = start(manual.address)
    with Raw(gateway.port, settings={4: 1000}) as client:
        socket_ = Socket(client, 1)
        upstream = manual.accept()
        switch(upstream)
        socket_.accepted()
        upstream.settimeout(1)
        frame = b"\x82\x7e" + (60_000).to_bytes(2, "big") + bytes(60_000)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1000:
                upstream.sendall(frame)
                sent += 1
        assert sent < 1000
        left = sent * len(frame)
        client.send(client.widen(0, 1 << 30), client.widen(1, 1 << 30))
        while left > 0:
            left -= len(client.until(DataFrame).data)


def test_no_goaway_on_stop_while_websockets_are_open(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--graceful", "60s", "--websocket-drain", "60s")
    with Raw(gateway.port) as client:
        socket_ = Socket(client, 1)
        upstream = manual.accept()
        switch(upstream)
        socket_.accepted()
        gateway.signal(signal.SIGTERM)
        seen = client.until(DataFrame, GoAwayFrame)
        assert isinstance(seen, DataFrame), "a GOAWAY before the WebSocket was closed"
        assert seen.data == b"\x88\x02\x03\xe9"  # 1001, going away
        client.send(client.headers(3, GET))
        assert client.until(RstStreamFrame, stream=3).error_code == 7
        client.send(DataFrame(1, data=b"\x88\x82\0\0\0\0\x03\xe9", flags=["END_STREAM"]))
        upstream.close()
    assert gateway.process.wait(20) == 0


def test_pings_on_a_stream_are_answered_and_go_no_further(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--websocket-ping", "1s", "--websocket-ping-to", "client")
    with Raw(gateway.port) as client:
        socket_ = Socket(client, 1)
        upstream = manual.accept()
        switch(upstream)
        socket_.accepted()
        for _ in range(2):
            ping = client.until(DataFrame, stream=1).data
            assert ping[:2] == b"\x89\x08"
            client.send(DataFrame(1, data=b"\x8a\x88\0\0\0\0" + ping[2:]))
        client.send(DataFrame(1, data=b"\x82\x82\0\0\0\0hi"))
        assert upstream.recv(100) == b"\x82\x82\0\0\0\0hi"
