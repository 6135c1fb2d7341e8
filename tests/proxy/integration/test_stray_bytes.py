"""Bytes that an upstream sends behind a complete answer: whom they may reach, and whom never."""

import socket
import time
from collections.abc import Callable

import pytest

from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.scripted import OK, Manual, Script, ScriptedUpstream, read_request

Start = Callable[..., Gateway]
KEPT = ("--upstream-keepalive", "60")
GET = b"GET /a HTTP/1.1\r\nHost: case.example\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
# Answers without a body that announce one: the request, the answer.
ANNOUNCED = {
    "HEAD": (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(POISON)),
    "chunked HEAD": (HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "304": (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(POISON)),
    "204": (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n" % len(POISON)),
    "205": (GET, b"HTTP/1.1 205 Reset Content\r\nContent-Length: %d\r\n\r\n" % len(POISON)),
}


def answered(gateway: Gateway, upstream: socket.socket | Manual, request: bytes, reply: bytes) -> socket.socket:
    """A client's request, answered on the connection where it comes; that connection."""
    with Client(gateway.address) as client:
        client.send(request)
        sock = upstream.accept() if isinstance(upstream, Manual) else upstream
        assert read_request(sock, b"")[0]
        sock.sendall(reply)
        assert client.answer(head_only=True).status in (200, 204, 205, 304)
    return sock


def let_go(sock: socket.socket) -> bool:
    """Whether the gateway ends this connection; unread bytes make a reset of it."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(("request_", "reply"), ANNOUNCED.values(), ids=ANNOUNCED)
def test_late_body_of_a_bodiless_response_reaches_nobody(
    manual: Manual, start: Start, request_: bytes, reply: bytes
) -> None:
    gateway = start(manual.address, *KEPT)
    first = answered(gateway, manual, request_, reply)
    second = answered(gateway, manual, GET, OK)
    first.sendall(POISON)
    assert let_go(first)
    for _ in range(3):
        answered(gateway, second, GET, OK)
    # Nor is such a connection kept again, now that this is known of the upstream.
    assert let_go(answered(gateway, second, request_, reply))


@pytest.mark.parametrize(("request_", "reply"), ANNOUNCED.values(), ids=ANNOUNCED)
def test_where_it_does_not_come_the_connection_is_used_again(
    manual: Manual, start: Start, request_: bytes, reply: bytes
) -> None:
    gateway = start(manual.address, *KEPT)
    sock = answered(gateway, manual, request_, reply)
    time.sleep(0.3)  # the doubt ends by the clock alone
    answered(gateway, sock, GET, OK)
    answered(gateway, sock, GET, OK)


def test_heads_now_and_then_need_one_connection(scripted: ScriptedUpstream, start: Start) -> None:
    request, reply = ANNOUNCED["HEAD"]
    scripted.expect(Script(reply))
    gateway = start(scripted.address, *KEPT)
    for _ in range(4):
        with Client(gateway.address) as client:
            client.send(request)
            assert client.answer(head_only=True).status == 200
        time.sleep(0.3)  # the doubt ends by the clock alone
    assert len({received.connection for received in scripted.received}) == 1


def test_bytes_between_responses_reach_nobody(manual: Manual, start: Start) -> None:
    gateway = start(manual.address, *KEPT)
    with Client(gateway.address) as client:
        client.send(GET)
        first = manual.accept()
        read_request(first, b"")
        first.sendall(OK)
        first.sendall(POISON)
        assert client.answer().status == 200
        assert let_go(first)
        client.send(GET)
        second = manual.accept()
        read_request(second, b"")
        second.sendall(OK)
        assert client.answer().body == b"ok"


def test_overrunning_upstream_loses_kept_connections(scripted: ScriptedUpstream, start: Start) -> None:
    scripted.expect(Script(OK + POISON))
    gateway = start(scripted.address, *KEPT)
    for _ in range(20):
        with Client(gateway.address) as client:
            client.send(GET)
            assert client.answer().body == b"ok"
    assert "sent bytes after 20 responses" in gateway.log
    scripted.expect()
    for _ in range(3):
        with Client(gateway.address) as client:
            client.send(GET)
            assert client.answer().body == b"ok"
    assert len({received.connection for received in scripted.received}) == 3


def test_bodies_that_end_with_the_connection_are_no_fault(scripted: ScriptedUpstream, start: Start) -> None:
    scripted.expect(Script(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "closes"))
    gateway = start(scripted.address, *KEPT)
    for _ in range(25):
        with Client(gateway.address) as client:
            client.send(GET)
            assert client.answer().body == b"until the end"
    assert "behind" not in gateway.log
