"""Stale upstream connections, repeated requests, and requests held while the upstream restarts."""

import socket
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.ports import ports
from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import PATIENCE, Client
from tests.proxy.integration.scripted import OK, Manual, read_request
from tests.waiting import until

GET = b"GET /a HTTP/1.1\r\nHost: case.example\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: case.example\r\nContent-Length: 5\r\n\r\nhello"
KEPT = ("--upstream-keepalive", "60")

# Retries on a stale connection (RFC 9110 section 9.2.2).


def stale(manual: Manual, gateway: Gateway, request: bytes) -> tuple[Client, socket.socket]:
    """Put one connection into the pool, let the next request meet its end before any byte of an answer."""
    client = Client(gateway.address)
    client.send(GET)
    first = manual.accept()
    read_request(first, b"")
    first.sendall(OK)
    assert client.answer().status == 200
    client.send(request)
    got, _ = read_request(first, b"")
    assert got
    first.close()
    return client, first


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_idempotent_request_is_repeated_once(manual: Manual, start: Callable[..., Gateway], method: str) -> None:
    gateway = start(manual.address, *KEPT)
    client, _ = stale(manual, gateway, GET.replace(b"GET", method.encode()))
    second = manual.accept()
    got, _ = read_request(second, b"")
    assert got.startswith(method.encode())
    second.close()
    assert client.answer().status == 502, "a failed retry is not repeated"
    client.sock.close()


def test_put_with_body_is_repeated_whole(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, *KEPT)
    body = b"x" * 300_000
    put = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + body
    client, _ = stale(manual, gateway, put)
    second = manual.accept()
    assert read_request(second, b"")[0].endswith(body)
    second.sendall(OK)
    assert client.answer().status == 200
    client.sock.close()


@pytest.mark.parametrize("method", [b"POST", b"PATCH"])
def test_unsafe_request_is_never_repeated(manual: Manual, start: Callable[..., Gateway], method: bytes) -> None:
    gateway = start(manual.address, *KEPT, "--reuse-unsafe", "60")
    client, _ = stale(manual, gateway, POST.replace(b"POST", method))
    assert client.answer().status == 502
    manual.listener.settimeout(0.2)
    # A handshake may come, which finds out whether the upstream speaks TLS. A request must not.
    with suppress(TimeoutError):
        while True:
            assert method not in manual.accept().recv(65536)
    client.sock.close()


def test_a_post_with_a_key_is_repeated_where_that_is_allowed(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, *KEPT, "--reuse-unsafe", "60", "--repeat-keyed", "on")
    client, _ = stale(manual, gateway, POST.replace(b"\r\n", b"\r\nIdempotency-Key: 7\r\n", 1))
    second = manual.accept()
    assert read_request(second, b"")[0].endswith(b"hello")
    second.sendall(OK)
    assert client.answer().status == 200
    client.send(POST)
    assert read_request(second, b"")[0]
    second.close()
    assert client.answer().status == 502, "one without a key is not"
    client.sock.close()


def test_unsafe_request_takes_a_fresh_connection(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, *KEPT, "--reuse-unsafe", "0")
    with Client(gateway.address) as client:
        client.send(GET)
        first = manual.accept()
        read_request(first, b"")
        first.sendall(OK)
        assert client.answer().status == 200
        client.send(POST)
        second = manual.accept()
        assert read_request(second, b"")[0].endswith(b"hello")
        second.sendall(OK)
        assert client.answer().status == 200


def test_connection_that_the_upstream_closed_is_not_leased(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, *KEPT)
    with Client(gateway.address) as client:
        for _ in range(3):
            client.send(GET)
            sock = manual.accept()
            read_request(sock, b"")
            sock.sendall(OK)
            assert client.answer().status == 200
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b"", "the gateway did not let go of a closed connection"


# Holding requests while the upstream restarts.


def serve_once(place: socket.socket, gateway: Gateway) -> None:
    """One exchange, after which the upstream counts as having been up."""
    place.settimeout(PATIENCE)
    with Client(gateway.address) as client:
        client.send(GET)
        with place.accept()[0] as sock:
            read_request(sock, b"")
            sock.sendall(OK)
            assert client.answer().status == 200


def test_any_request_is_held_until_the_upstream_is_back(start: Callable[..., Gateway]) -> None:
    (port,) = ports(1)
    with socket.create_server(("127.0.0.1", port)) as place:
        gateway = start(f"127.0.0.1:{port}", "--retry-wait", "60", admin=True)
        serve_once(place, gateway)
    with Client(gateway.address) as client:
        client.send(POST)
        until(lambda: b"\naragora_proxy_retry_waits_total 1.0" in scrape(gateway), "the request is held")
        with socket.create_server(("127.0.0.1", port)) as place:
            place.settimeout(PATIENCE)
            sock, _ = place.accept()
            assert read_request(sock, b"")[0].endswith(b"hello")
            sock.sendall(OK)
            assert client.answer().status == 200
            sock.close()


def test_an_upstream_that_was_never_up_is_502_at_once(start: Callable[..., Gateway]) -> None:
    (port,) = ports(1)
    gateway = start(f"127.0.0.1:{port}", "--retry-wait", "60", admin=True)
    gateway.wait_for(
        f"upstream 127.0.0.1:{port}: nothing listens there: requests for it fail with 502; "
        "start the application, or correct the address"
    )
    with Client(gateway.address) as client:
        client.send(POST)
        assert client.answer().status == 502
        gateway.wait_for("Connection refused; it has not accepted any connection yet")
        assert b"\naragora_proxy_retry_waits_total 0.0" in scrape(gateway)
        with socket.create_server(("127.0.0.1", port)) as place:
            place.settimeout(PATIENCE)
            client.send(GET)
            sock, _ = place.accept()
            read_request(sock, b"")
            sock.sendall(OK)
            sock.close()
            assert client.answer().status == 200
        client.send(GET)
        until(lambda: b"\naragora_proxy_retry_waits_total 1.0" in scrape(gateway), "it was up: the request is held")


def scrape(gateway: Gateway) -> bytes:
    with Client(gateway.admin) as client:
        client.send(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return client.answer().body


def test_an_upstream_that_is_gone_is_503_with_retry_after(start: Callable[..., Gateway]) -> None:
    (port,) = ports(1)
    with socket.create_server(("127.0.0.1", port)) as place:
        gateway = start(f"127.0.0.1:{port}", "--retry-wait", "0.3s")
        serve_once(place, gateway)
    with Client(gateway.address) as client:
        client.send(GET)
        answer = client.answer()
        assert (answer.status, answer.field("Retry-After") is not None) == (503, True)
        client.send(GET)
        assert client.answer().status == 503, "the client's connection stays usable"
