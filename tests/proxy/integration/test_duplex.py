"""Answers that begin before their request has ended: both go on, whoever is slow, and nobody waits for ever."""

import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.duplex import Echo
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.scripted import Manual
from tests.waiting import until

SIZE = 8 << 20  # more than the buffers of all sockets on the way
BODY = os.urandom(SIZE)
SIZED = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    upstream = Echo()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module", params=["on", "off"], ids=["buffered", "streamed"])
def echoing(request: pytest.FixtureRequest, echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = serve(
        tmp_path_factory.mktemp("echoing"), echo.address, "--request-buffering", request.param, "--h2c", "on",
        "--upstream-keepalive", "60", "--linger-timeout", "1",
    )  # fmt: skip
    yield running
    running.close()
    assert "Traceback" not in running.log, running.log


@pytest.mark.component("curl")
@pytest.mark.parametrize("answer", ["sized", "chunked", "closed"])
@pytest.mark.parametrize("sends", ["sized", "chunked"])
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge"])
def test_an_upload_and_its_echo_pass_each_other(
    echo: Echo, echoing: Gateway, tmp_path: Path, protocol: str, sends: str, answer: str
) -> None:
    if answer == "sized" and sends == "chunked":
        pytest.skip("the length of what comes is not known")
    echo.answer = answer
    source = tmp_path / "sent"
    source.write_bytes(BODY)
    framing = ["-T", "-"] if sends == "chunked" else ["--data-binary", f"@{source}"]
    with source.open("rb") as stream:
        done = subprocess.run(
            ["curl", "-sS", "-m", "30", protocol, "-X", "POST", "-H", "Expect:", *framing, echoing.url + "/a"],
            stdin=stream, capture_output=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == BODY


def test_the_connection_is_kept_when_all_was_sent(echo: Echo, echoing: Gateway) -> None:
    echo.answer = "sized"
    first = echo.connections
    for _ in range(3):
        with Client(echoing.address) as client:
            sending = threading.Thread(target=client.send, args=(SIZED + BODY,))
            sending.start()
            assert client.answer().body == BODY
            sending.join()
    assert echo.connections - first <= 2  # one may have been left by the test before


def test_client_reading_nothing_until_its_upload_ends(echo: Echo, echoing: Gateway) -> None:
    echo.answer = "chunked"
    body = BODY * 4  # what the sockets do not hold is kept in a spool
    with Client(echoing.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        answer = client.answer()
        assert (answer.whole, answer.body == body) == (True, True)


# What ends the sending.


def _upload(client: Client) -> threading.Thread:
    sending = threading.Thread(target=client.send, args=(SIZED + BODY,))
    sending.start()
    return sending


def _read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += sock.recv(count - len(data))
    return data


def _read_head(sock: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    return head


Start = Callable[..., Gateway]
buffering = pytest.mark.parametrize("buffering", ["on", "off"])


@buffering
def test_a_complete_answer_ends_it(manual: Manual, start: Start, buffering: str) -> None:
    gateway = start(manual.address, "--request-buffering", buffering)
    with Client(gateway.address) as client:
        sending = _upload(client)
        sock = manual.accept()
        _read_head(sock)
        sock.sendall(CHUNKED + b"2\r\nok\r\n")
        received = sock.recv(65536)
        assert BODY.startswith(received)  # it goes on while the answer does
        sock.sendall(b"0\r\n\r\n")
        assert client.answer().body == b"ok"
        while received := sock.recv(1 << 20):
            pass  # and the connection is not used again
        sending.join()


@buffering
def test_an_error_ends_it_whatever_the_length_of_its_page(manual: Manual, start: Start, buffering: str) -> None:
    gateway = start(manual.address, "--request-buffering", buffering)
    page = bytes(6 << 20)
    with Client(gateway.address) as client:
        answering = threading.Thread(target=_answer_403, args=(manual, page))
        answering.start()
        client.send(SIZED + BODY)  # reads nothing meanwhile
        answer = client.answer()
        assert (answer.status, answer.whole, answer.body) == (403, True, page)
        answering.join()


def _answer_403(manual: Manual, page: bytes) -> None:
    sock = manual.accept()
    _read_head(sock)
    sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
    sock.recv(1)


@buffering
def test_an_upstream_that_breaks_off_ends_both(manual: Manual, start: Start, buffering: str) -> None:
    gateway = start(manual.address, "--request-buffering", buffering)
    with Client(gateway.address) as client:
        sending = _upload(client)
        sock = manual.accept()
        _read_head(sock)
        sock.sendall(CHUNKED + b"2\r\nok\r\n")
        until(lambda: sock.recv(65536), "bytes of the body")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        answer = client.answer()
        assert (answer.status, answer.whole) == (200, False)
        sending.join()


def test_a_client_that_leaves_ends_both(manual: Manual, start: Start) -> None:
    gateway = start(manual.address, "--request-buffering", "off")
    with Client(gateway.address) as client:
        client.send(SIZED + BODY[:100_000])
        sock = manual.accept()
        _read_head(sock)
        assert _read(sock, 100_000) == BODY[:100_000]
        sock.sendall(CHUNKED + b"2\r\nok\r\n")
        while b"ok" not in client.pending:
            client.pending += client.sock.recv(100)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert sock.recv(1) == b""


@pytest.mark.parametrize("fault", [b"zz\r\n", b"5\r\nhelloworld"])
def test_a_body_that_turns_out_malformed_ends_both(manual: Manual, start: Start, fault: bytes) -> None:
    gateway = start(manual.address, "--request-buffering", "off")
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        sock = manual.accept()
        _read_head(sock)
        assert _read(sock, 10) == b"5\r\nfirst\r\n"
        sock.sendall(CHUNKED + b"2\r\nok\r\n")
        while b"ok" not in client.pending:
            client.pending += client.sock.recv(100)
        client.send(fault)
        assert not client.answer().whole
        assert b"0\r\n\r\n" not in sock.recv(100)


# Deadlines: while one direction moves, the other is not too slow.


def _in_time(step: Callable[[int], object]) -> None:
    """Do something seven times in some three seconds."""
    for number in range(7):
        step(number)
        time.sleep(0.45)  # a slow side is what this is about


def test_a_client_may_pause_while_the_answer_goes_on(manual: Manual, start: Start) -> None:
    gateway = start(manual.address, "--request-buffering", "off", "--body-timeout", "1s")
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha")
        sock = manual.accept()
        _read_head(sock)
        sock.sendall(CHUNKED)
        _in_time(lambda number: sock.sendall(b"1\r\n%d\r\n" % number))
        client.send(b"lf")
        assert _read(sock, 4) == b"half"
        sock.sendall(b"0\r\n\r\n")
        assert client.answer().body == b"0123456"


def test_upstream_may_respond_without_reading_the_body(manual: Manual, start: Start) -> None:
    gateway = start(manual.address, "--send-timeout", "1s")
    with Client(gateway.address) as client:
        sending = _upload(client)
        sock = manual.accept()
        _read_head(sock)
        sock.sendall(CHUNKED)
        _in_time(lambda number: sock.sendall(b"1\r\n%d\r\n" % number))
        sock.sendall(b"0\r\n\r\n")
        assert client.answer().body == b"0123456"
        sending.join()


def test_an_upstream_may_be_silent_while_it_is_sent_to(manual: Manual, start: Start) -> None:
    gateway = start(manual.address, "--request-buffering", "off", "--read-timeout", "1s")
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n")
        sock = manual.accept()
        _read_head(sock)
        sock.sendall(CHUNKED)
        _in_time(lambda number: client.send(b"%d" % number))
        assert _read(sock, 7) == b"0123456"
        sock.sendall(b"2\r\nok\r\n0\r\n\r\n")
        assert client.answer().body == b"ok"


def test_it_ends_when_neither_direction_moves(manual: Manual, start: Start) -> None:
    gateway = start(manual.address, "--request-buffering", "off", "--body-timeout", "1s")
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha")
        sock = manual.accept()
        _read_head(sock)
        sock.sendall(CHUNKED + b"2\r\nok\r\n")
        answer = client.answer()
        assert (answer.body, answer.whole) == (b"ok", False)
        line = until(gateway.logged, "the log line")[-1]
        assert (line["termination"], line["reason"]) == ("cD", "body_timeout")


@buffering
@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_is_told_by_which_setting(
    manual: Manual, start: Start, buffering: str, framing: bytes
) -> None:
    gateway = start(manual.address, "--request-buffering", buffering, "--body-timeout", "0.5s")
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        answer = client.answer()
        assert answer.status == 408
        assert b"nothing for 0.5 s (body_timeout)" in answer.body
        assert until(gateway.logged, "the log line")[-1]["reason"] == "body_timeout"
        assert "nothing for 0.5 s (body_timeout)" in gateway.log
