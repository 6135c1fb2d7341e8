"""A client that still sends when its last answer is under way gets that answer, over TLS as without."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway
from tests.proxy.integration.scripted import Script, ScriptedUpstream
from tests.proxy.tls_gateway import by_hand, connect, serve_tls
from tests.waiting import until

NAME = "linger.test"


@pytest.fixture(scope="module")
def gateway(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    upstream = ScriptedUpstream()
    cert, key = authority.issue(NAME)
    running = serve_tls(
        tmp_path_factory.mktemp("linger"), upstream.address, "--tls-cert", str(cert), "--tls-key", str(key),
        "--max-body", "1000", "--linger-timeout", "1")  # fmt: skip
    yield running
    running.close()
    upstream.close()
    assert "failed inside the gateway" not in running.log


def received(sock: ssl.SSLSocket) -> bytes:
    heard = b""
    while data := sock.recv(65536):
        heard += data
    return heard


def test_a_refusal_is_heard_while_the_body_is_still_sent(gateway: Gateway, authority: Authority) -> None:
    with connect(gateway, authority.trust(), NAME) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: linger.test\r\nContent-Length: 400000\r\n\r\n")
        for _ in range(20):
            sock.sendall(b"x" * 20_000)
        assert received(sock).startswith(b"HTTP/1.1 413")


def test_a_refusal_is_heard_after_a_body_of_any_size(gateway: Gateway, authority: Authority) -> None:
    """Many clients send everything before they read, and over TLS an error of sending hides the answer."""
    size, piece = 80 << 20, bytes(1 << 20)
    with connect(gateway, authority.trust(), NAME) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: linger.test\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(0, size, len(piece)):
            sock.sendall(piece)
        assert received(sock).startswith(b"HTTP/1.1 413")


def test_a_client_that_never_ends_is_left_after_a_while(gateway: Gateway, authority: Authority) -> None:
    sock = connect(gateway, authority.trust(), NAME)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: linger.test\r\nConnection: close\r\n\r\n")
    assert b"200 OK" in received(sock)
    assert gateway.status()["workers"][0]["pid"]
    until(lambda: connections(gateway) <= 0, "the gateway has closed", 10)
    sock.close()


def test_an_end_that_came_with_the_request_is_seen(gateway: Gateway, authority: Authority) -> None:
    """close_notify in the same segment as the request, and no FIN."""
    with by_hand(gateway, authority.trust(), NAME) as client:
        client.write(b"GET / HTTP/1.1\r\nHost: linger.test\r\nConnection: close\r\n\r\n")
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.push()
        while data := client.far.recv(65536):
            client.incoming.write(data)
        assert b"200 OK" in client.receive()
    until(lambda: connections(gateway) <= 0, "the gateway has closed", 10)


@pytest.mark.parametrize("whole", [True, False])
def test_only_a_whole_answer_ends_with_a_word_of_tls(authority: Authority, tmp_path: Path, whole: bool) -> None:
    """What its upstream broke off arrives, and then the connection ends without close_notify (RFC 9112 section 9.8)."""
    upstream = ScriptedUpstream()
    body = bytes(range(256)) * 2000
    length = len(body) + (0 if whole else 100)
    upstream.expect(Script(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + body, "closes"))
    cert, key = authority.issue(NAME)
    gateway = serve_tls(tmp_path, upstream.address, "--tls-cert", str(cert), "--tls-key", str(key))
    trust = authority.trust()
    trust.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    raw = socket.create_connection(gateway.address, timeout=10)
    with trust.wrap_socket(raw, server_hostname=NAME, suppress_ragged_eofs=False) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: linger.test\r\nConnection: close\r\n\r\n")
        until(gateway.logged, "the exchange has ended")
        heard = b""
        with contextlib.nullcontext() if whole else pytest.raises(ssl.SSLError, match=r"(?i)eof"):
            while data := sock.recv(65536):
                heard += data
    assert heard.endswith(b"\r\n\r\n" + body)
    gateway.close()
    upstream.close()


def connections(gateway: Gateway) -> int:
    """Client connections, but for the one that asks: -1 if that was not counted yet."""
    shown = gateway.status()["workers"][0]["connections"]
    return int(shown["idle"] + shown["active"] + shown["tunnel"]) - 1
