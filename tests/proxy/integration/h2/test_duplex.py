"""Streams whose answer begins before their request has ended."""

import os
from collections.abc import Callable, Iterator

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame, WindowUpdateFrame

from tests.proxy.gateway import Gateway
from tests.proxy.integration.duplex import Echo
from tests.proxy.integration.h2.raw import Raw
from tests.proxy.integration.scripted import Manual, read_request, read_until
from tests.waiting import until

Start = Callable[..., Gateway]
PIECE = 16384
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def echo() -> Iterator[Echo]:
    upstream = Echo()
    yield upstream
    upstream.close()


class Sender:
    """Sends a body as far as the windows allow, and keeps what comes of the answer."""

    def __init__(self, client: Raw) -> None:
        self._client = client
        self._room = {0: 65535, 1: 1 << 18}  # the latter in the SETTINGS
        self.answer = b""

    def send(self, body: bytes) -> None:
        """All of it, with its end; no room is given to the answer meanwhile."""
        for begin in range(0, len(body), PIECE):
            while min(self._room.values()) < PIECE:
                self._note(self._client.until(WindowUpdateFrame, DataFrame))
            piece = body[begin : begin + PIECE]
            self._room = {stream: room - len(piece) for stream, room in self._room.items()}
            self._client.send(DataFrame(1, data=piece, flags=["END_STREAM"] if begin + PIECE >= len(body) else []))

    def _note(self, frame: object) -> None:
        if isinstance(frame, WindowUpdateFrame):
            self._room[frame.stream_id] += frame.window_increment
        elif isinstance(frame, DataFrame):
            self.answer += frame.data

    def receive(self, size: int) -> bytes:
        """The rest of an answer of that many bytes in all, with room given as it comes."""
        self._client.send(self._client.widen(0, size), self._client.widen(1, size))
        while len(self.answer) < size:
            self._note(self._client.until(DataFrame))
        return self.answer


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_client_without_window_until_its_upload_ends(start: Start, echo: Echo, buffering: str) -> None:
    gateway = start(echo.address, "--request-buffering", buffering)
    body = os.urandom(PIECE * 300)
    with Raw(gateway.port) as client:
        client.send(client.open(1))
        sender = Sender(client)
        sender.send(body)
        assert sender.receive(len(body)) == body


def test_a_stream_that_its_client_resets_meanwhile_ends_alone(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--request-buffering", "off")
    with Raw(gateway.port) as client:
        client.send(client.open(1), DataFrame(1, data=b"first"))
        sock = manual.accept()
        read_until(sock, b"first")
        sock.sendall(CHUNKED + b"2\r\nok\r\n")
        assert client.until(DataFrame).data == b"ok"
        client.send(RstStreamFrame(1, error_code=8))
        while data := sock.recv(65536):
            assert b"0\r\n\r\n" not in data
        assert client.alive()


def test_response_of_any_length_reaches_a_refused_client(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--request-buffering", "off")
    page = bytes(1 << 20)
    with Raw(gateway.port) as client:
        client.send(client.open(1), client.widen(0, 1 << 21), client.widen(1, 1 << 21), DataFrame(1, data=b"first"))
        sock = manual.accept()
        read_until(sock, b"first")
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(page))
        assert client.fields(client.until(HeadersFrame))[":status"] == "403"
        client.send(*(DataFrame(1, data=bytes(PIECE)) for _ in range(10)))
        sock.sendall(page)
        received = 0
        while received < len(page):
            received += len(client.until(DataFrame).data)


@pytest.mark.parametrize("framing", [b"Content-Length: 1048676", b"Transfer-Encoding: chunked"])
def test_late_reader_gets_all_of_a_broken_response(start: Start, manual: Manual, framing: bytes) -> None:
    gateway = start(manual.address)
    body = os.urandom(1 << 20)
    with Raw(gateway.port, settings={4: 1 << 21}) as client:
        client.send(client.widen(0, 1 << 21), client.headers(1))
        sock = manual.accept()
        read_request(sock, b"")
        chunk = b"%x\r\n%b\r\n" % (len(body), body)
        sock.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (framing, chunk if b"chunked" in framing else body))
        sock.close()
        until(gateway.logged, "the exchange has ended")
        got = b""
        while isinstance(frame := client.until(DataFrame, RstStreamFrame), DataFrame):
            got += frame.data
        assert (len(got), got == body) == (len(body), True)
        assert frame.error_code == 2
