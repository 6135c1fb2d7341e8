"""Upgrades to other protocols than WebSocket: which pass, what is relayed, and what is no upgrade."""

import socket
from collections.abc import Iterator

import pytest
from hyperframe.frame import DataFrame, HeadersFrame

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.h2.raw import Raw
from tests.proxy.integration.scripted import Manual, read_request
from tests.waiting import until

TCP = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.raw\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
ROUTES = """
upstream = "{address}"
upgrade = ["tcp", "SPDY/3.1"]
h2c = true
max_client_websockets = 3
[[route]]
path = "/any"
upstream = "{address}"
upgrade = "*"
[[route]]
path = "/none"
upstream = "{address}"
upgrade = "off"
[[route]]
path = "/short"
upstream = "{address}"
upgrade = "*"
websocket_timeout = 1
[[route]]
path = "/streamed"
upstream = "{address}"
upgrade = "*"
request_buffering = false
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Manual]:
    manual = Manual()
    yield manual
    for sock in manual.kept:
        sock.close()


@pytest.fixture(scope="module")
def gateway(upstream: Manual, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("upgrades")
    file = directory / "proxy.toml"
    file.write_text(ROUTES.format(address=upstream.address))
    running = serve(directory, "", "--config", str(file), admin=True)
    yield running
    running.close()
    assert "Traceback" not in running.log, running.log


def head(path: bytes, *lines: bytes, method: bytes = b"POST") -> bytes:
    return b"\r\n".join([b"%s %s HTTP/1.1" % (method, path), b"Host: a", *lines, b"", b""])


def asking(protocol: bytes) -> tuple[bytes, bytes]:
    return b"Connection: Upgrade", b"Upgrade: " + protocol


def opened(
    gateway: Gateway, upstream: Manual, path: bytes = b"/any", early: bytes = b""
) -> tuple[Client, socket.socket]:
    """A tunnel: both its ends."""
    client = Client(gateway.address)
    client.send(head(path, *asking(b"tcp")) + early)
    behind = upstream.accept()
    request, _ = read_request(behind, b"")
    assert b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" in request
    behind.sendall(TCP)
    answer = client.answer()
    assert (answer.status, answer.field("Upgrade"), answer.field("Content-Type")) == (101, "tcp", "application/vnd.raw")
    return client, behind


def read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def test_bytes_go_both_ways_whatever_they_are(gateway: Gateway, upstream: Manual) -> None:
    client, behind = opened(gateway, upstream, early=b"GET / HTTP/1.1\r\n\r\n")
    assert read(behind, 18) == b"GET / HTTP/1.1\r\n\r\n"
    behind.sendall(b"\x88\x02")  # would be the beginning of a close frame
    assert client._take(2) == b"\x88\x02"
    large = bytes(range(256)) * 4000
    client.send(large[:100_000])
    assert read(behind, 100_000) == large[:100_000]
    behind.sendall(large[:200_000])
    assert client._take(200_000) == large[:200_000]
    behind.close()
    assert client.at_end()
    client.sock.close()
    line = until(lambda: [line for line in gateway.logged() if line["status"] == 101], "the log line")[-1]
    assert (line["method"], line["termination"]) == ("POST", "--")


def test_a_side_may_end_long_before_the_other(gateway: Gateway, upstream: Manual) -> None:
    """What `docker run -i` does at the end of its input."""
    client, behind = opened(gateway, upstream, b"/")
    client.send(b"input")
    client.sock.shutdown(socket.SHUT_WR)
    assert read(behind, 6) == b"input"
    behind.sendall(b"result")
    behind.close()
    assert client._take(6) == b"result"
    assert client.at_end()
    client.sock.close()


def test_a_silent_tunnel_ends_without_a_frame(gateway: Gateway, upstream: Manual) -> None:
    client, behind = opened(gateway, upstream, b"/short")
    assert behind.recv(1) == b""
    assert client.at_end()
    client.sock.close()
    behind.close()


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (b"/", asking(b"other")),
        (b"/none", asking(b"tcp")),
        (
            b"/none",
            (*asking(b"websocket"), b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        ),
        (b"/any", asking(b"h2c")),
        (b"/any", (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")),
        (b"/any", asking(b"TLS/1.0")),
        (b"/any", asking(b"HTTP/2.0")),
        (b"/any", (b"Upgrade: tcp",)),
    ],
)
def test_what_is_not_permitted_is_a_plain_request(
    gateway: Gateway, upstream: Manual, path: bytes, lines: tuple[bytes, ...]
) -> None:
    with Client(gateway.address) as client:
        client.send(head(path, *lines, method=b"GET"))
        behind = upstream.accept()
        request, _ = read_request(behind, b"")
        assert b"pgrade" not in request
        assert b"HTTP2-Settings" not in request
        behind.sendall(TCP)  # all the same
        assert client.answer().status == 502
    until(lambda: gateway.logged()[-1:] and gateway.logged()[-1]["reason"] == "bad_upgrade", "why")


@pytest.mark.parametrize("answer", [b"Upgrade: h2c", b"Upgrade: tcp, h2c", b"Upgrade: h2c\r\nUpgrade: tcp", b"X: y"])
def test_another_protocol_than_asked_for_is_an_error(gateway: Gateway, upstream: Manual, answer: bytes) -> None:
    with Client(gateway.address) as client:
        client.send(head(b"/any", *asking(b"h2c, tcp")))
        behind = upstream.accept()
        request, _ = read_request(behind, b"")
        assert b"\r\nUpgrade: tcp\r\n" in request
        behind.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" + answer + b"\r\n\r\nsecret")
        refused = client.answer()
        assert (refused.status, b"secret" in refused.body) == (502, False)


def test_a_refused_upgrade_leaves_the_connection_to_http(gateway: Gateway, upstream: Manual) -> None:
    with Client(gateway.address) as client:
        client.send(head(b"/any", *asking(b"tcp"), b"Content-Length: 2") + b"hi" + head(b"/next", method=b"GET"))
        behind = upstream.accept()
        request, rest = read_request(behind, b"")
        assert (request[-2:], rest) == (b"hi", b"")
        behind.sendall(b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno")
        assert client.answer().body == b"no"
        following, _ = read_request(behind, b"")
        assert following.startswith(b"GET /next ")
        behind.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert client.answer().status == 200


def test_a_body_is_sent_before_the_switch(gateway: Gateway, upstream: Manual) -> None:
    body = b"2\r\n{}\r\n0\r\n\r\n"
    with Client(gateway.address) as client:
        client.send(head(b"/any", *asking(b"tcp"), b"Transfer-Encoding: chunked") + body + b"early")
        behind = upstream.accept()
        request, rest = read_request(behind, b"")
        assert request.endswith(b"\r\nContent-Length: 2\r\n\r\n{}")
        assert rest == b""
        behind.sendall(TCP + b"hello")
        assert client.answer().status == 101
        assert client._take(5) == b"hello"
        assert read(behind, 5) == b"early"
        behind.close()
        assert client.at_end()


def test_no_switch_before_the_whole_request(gateway: Gateway, upstream: Manual) -> None:
    with Client(gateway.address) as client:
        client.send(head(b"/streamed", *asking(b"tcp"), b"Content-Length: 10") + b"half")
        behind = upstream.accept()
        behind.recv(65536)
        behind.sendall(TCP)
        assert client.answer().status == 502
    until(lambda: "a 101 before the whole request was sent" in gateway.log, "why")


def test_tunnels_count_as_the_websockets_of_a_client(gateway: Gateway, upstream: Manual) -> None:
    until(lambda: gateway.status()["connections"]["tunnel"] == 0, "those before have ended")
    tunnels = [opened(gateway, upstream) for _ in range(3)]
    shown = until(lambda: gateway.status()["tunnels"], "the tunnels are shown")
    assert {(tunnel["protocol"], tunnel["target"]) for tunnel in shown} == {("tcp", "/any")}
    with Client(gateway.address) as another:
        another.send(head(b"/any", *asking(b"tcp")))
        assert another.answer().status == 429
    for client, behind in tunnels:
        client.sock.close()
        behind.close()


def test_an_extended_connect_of_http_2_becomes_an_upgrade(gateway: Gateway, upstream: Manual) -> None:
    until(lambda: gateway.status()["connections"]["tunnel"] == 0, "those before have ended")
    with Raw(gateway.port) as client:
        for stream, path, protocol in (
            (1, "/any", "tcp"),
            (3, "/none", "tcp"),
            (5, "/any", "h2c"),
            (7, "/", "websocket"),
        ):
            fields = {":method": "CONNECT", ":protocol": protocol, ":scheme": "http", ":authority": "a", ":path": path}
            client.send(client.open(stream, list(fields.items())))
        behind = upstream.accept()
        request, _ = read_request(behind, b"")
        assert request.startswith(b"GET /any HTTP/1.1\r\n")
        assert b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" in request
        behind.sendall(TCP + b"early")
        refused = [client.response(stream)[0][":status"] for stream in (3, 5, 7)]
        assert refused == ["501", "501", "501"]
        assert client.fields(client.until(HeadersFrame, stream=1))[":status"] == "200"
        assert client.until(DataFrame, stream=1).data == b"early"
        client.send(DataFrame(1, data=b"\x88\x00", flags=["END_STREAM"]))
        assert read(behind, 3) == b"\x88\x00"
        behind.close()
        assert "END_STREAM" in client.until(DataFrame, stream=1).flags
