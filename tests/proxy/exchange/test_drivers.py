"""Both drivers of the exchange write the same bytes, to the client and to the upstream, for every case there is."""

import socket
from collections.abc import Callable

import h2.exceptions
import pytest

from tests.proxy.exchange.exchanges import OK, WARM, Http1, Http2, Http2Client, respond, run_http1, run_http2, warm
from tests.proxy.integration import cases

RESPONSES = cases.responses()
REQUESTS = cases.requests()
MAX_BODY = "1000000"  # what the cases were written for


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_response_case_over_http1(case: cases.ResponseCase) -> None:
    inline = run_http1(case.send, case.reply, case.then, at_once=True)
    assert inline == run_http1(case.send, case.reply, case.then, at_once=False)
    assert inline[0], "the upstream was sent nothing"


@pytest.mark.parametrize("case", cases.responses("lenient"), ids=lambda case: case.name)
def test_lenient_case_over_http1(case: cases.ResponseCase) -> None:
    inline = run_http1(case.send, case.reply, case.then, at_once=True, lenient_responses="on")
    assert inline == run_http1(case.send, case.reply, case.then, at_once=False, lenient_responses="on")


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_request_case_over_http1(case: cases.RequestCase) -> None:
    assert run_http1(case.send, OK, "stays", at_once=True, max_body=MAX_BODY) == run_http1(
        case.send, OK, "stays", at_once=False, max_body=MAX_BODY
    )


def as_http2(send: bytes) -> tuple[list[tuple[str, str]], bytes] | None:
    """Fields and body of an HTTP/1 request that HTTP/2 can say as well, else None (RFC 9113 section 8.2)."""
    head, _, body = send.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1" or not parts[1].startswith("/"):
        return None
    fields = [(":method", parts[0]), (":scheme", "http"), (":path", parts[1])]
    for text in lines:
        name, colon, value = text.partition(":")
        name = name.lower()
        if not colon or name in ("connection", "transfer-encoding", "upgrade", "keep-alive", "te", "expect"):
            return None
        if name == "host":
            fields.insert(2, (":authority", value.strip()))
        else:
            fields.append((name, value.strip()))
    return fields, body


HTTP2_REQUESTS = [
    pytest.param(*said, id=case.name)
    for case in REQUESTS
    if case.upstream is not None and not case.closes and (said := as_http2(case.send)) is not None
]


@pytest.mark.parametrize(("fields", "body"), HTTP2_REQUESTS)
def test_request_case_over_http2(fields: list[tuple[str, str]], body: bytes) -> None:
    try:
        inline = run_http2(fields, body, OK, "stays", at_once=True)
    except h2.exceptions.ProtocolError:
        pytest.skip("HTTP/2 has no such request")
    assert inline == run_http2(fields, body, OK, "stays", at_once=False)


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_response_case_over_http2(case: cases.ResponseCase) -> None:
    said = as_http2(case.send)
    if said is None:
        pytest.skip("HTTP/2 has no such request")
    inline = run_http2(*said, case.reply, case.then, at_once=True)
    assert inline == run_http2(*said, case.reply, case.then, at_once=False)
    assert inline[0], "the upstream was sent nothing"


def test_many_http2_requests_can_be_said() -> None:
    assert len(HTTP2_REQUESTS) > 20


@pytest.mark.pure("replaces a method of the frontend")
@pytest.mark.parametrize("size", [2, 20_000, 60_000])
@pytest.mark.parametrize("protocol", [Http1, Http2], ids=["http1", "http2"])
def test_request_without_a_wait_takes_no_greenlet(
    protocol: Callable[..., object], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warm(at_once=True, protocol=protocol) as harness:
        resumed: list[object] = []
        monkeypatch.setattr(harness.front, "resume", resumed.append)
        client = harness.connect()
        if protocol is Http1:
            client.sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        else:
            Http2Client(client).send(WARM)
        harness.settle()
        respond(harness, response(size))
        assert client.received.count(b"x") >= size
        assert not resumed


def response(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


@pytest.mark.parametrize("size", [16_350, 20_000, 60_000])
def test_a_long_body_arrives_whole_at_a_client_with_little_room(size: int) -> None:
    with warm(at_once=True, protocol=Http1) as harness:
        client = harness.connect()
        for connection in harness.front.connections:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        harness.settle()
        respond(harness, response(size))
        harness.settle()
        assert client.responses([b"GET"]) == ([(200, b"x" * size)], False)


@pytest.mark.parametrize("here", [16_384, 16_385, 40_000])
@pytest.mark.parametrize("then", ["stays", "closes"])
def test_a_long_body_may_come_in_parts(here: int, then: str) -> None:
    with warm(at_once=True, protocol=Http1) as harness:
        client = harness.connect()
        client.sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        harness.settle()
        reply = response(60_000)
        upstream = next(end for end in harness.upstreams if end.received)
        upstream.sock.sendall(reply[:here])
        harness.settle()
        upstream.sock.sendall(reply[here:] if then == "stays" else reply[here:50_000])
        if then == "closes":
            upstream.close()
        harness.settle()
        if then == "stays":
            assert client.responses([b"GET"]) == ([(200, b"x" * 60_000)], False)
        else:
            assert client.ended, "the client can tell that the end is missing"
            assert 0 < client.received.count(b"x") < 60_000


def test_the_end_of_an_http2_connection_may_be_seen_twice() -> None:
    with warm(at_once=True, protocol=Http2) as harness:
        client = harness.connect()
        (connection,) = harness.front.multiplexed
        client.sock.close()
        harness.clients.remove(client)
        connection.on_readable()
        connection.on_readable()
        harness.settle()
        assert connection.closed
