"""What was sent before a connection ends reaches the client, whatever ends it."""

import fcntl
import signal
import socket
import ssl
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame

from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.h2.raw import Raw, frame
from tests.proxy.integration.scripted import Script, ScriptedUpstream
from tests.proxy.tls_gateway import serve_tls
from tests.waiting import until

SIZE = 1 << 20


def answer(length: int) -> Script:
    return Script(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + bytes(length))


@dataclass
class Site:
    """A gateway and how clients reach it."""

    gateway: Gateway
    tls: ssl.SSLContext | None

    def client(self) -> Raw:
        """One that takes little at a time, and gives every window there is."""
        client = Raw(self.gateway.port, settings={4: 1 << 30}, tls=self.tls, narrow=True)
        client.send(client.widen(0, 1 << 30))
        return client


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=["clear", "tls"])
def site(
    request: pytest.FixtureRequest, origin: ScriptedUpstream, authority: Authority, tmp_path: Path
) -> Iterator[Site]:
    if request.param == "clear":
        made = Site(serve(tmp_path / "gateway", origin.address, "--h2c", "on"), None)
    else:
        cert, key = authority.issue("127.0.0.1")
        trust = authority.trust()
        trust.set_alpn_protocols(["h2"])
        flags = ("--tls-cert", str(cert), "--tls-key", str(key))
        made = Site(serve_tls(tmp_path / "gateway", origin.address, *flags), trust)
    yield made
    made.gateway.close()
    assert "Traceback" not in made.gateway.log, made.gateway.log


def waiting(client: Raw) -> int:
    """Bytes that the client's kernel has for it."""
    return int.from_bytes(fcntl.ioctl(client.sock, termios.FIONREAD, bytes(4)), "little")


def body_until_the_end(client: Raw) -> tuple[int, list[object]]:
    """Bytes of the bodies up to the end of the connection, and its last frames that are no DATA."""
    total = 0
    others: list[object] = []
    while (found := client.receive()) is not None:
        if isinstance(found, DataFrame):
            total += len(found.data)
        else:
            others.append(found)
    return total, others


def test_the_clients_end_does_not_cut_what_is_under_way(site: Site, origin: ScriptedUpstream) -> None:
    origin.expect(answer(SIZE))
    with site.client() as client:
        client.send(client.headers(1))
        client.until(HeadersFrame)
        until(lambda: waiting(client) > 1000, "the kernels have no more room")
        socket.socket.shutdown(client.sock, socket.SHUT_WR)  # with TLS too without its own ceremony
        until(lambda: [one for one in site.gateway.logged() if one["status"] == 200], "the exchange ends")
        total, _ = body_until_the_end(client)
        assert not client.reset
        assert not client.unfinished, "the last frame is whole"
        assert 0 < total < SIZE


@pytest.mark.parametrize("more", [b"", bytes(1 << 20)], ids=["silent", "sending on"])
def test_a_fault_does_not_cut_what_is_under_way(site: Site, origin: ScriptedUpstream, more: bytes) -> None:
    origin.expect(answer(SIZE))
    with site.client() as client:
        client.send(client.headers(1))
        client.until(HeadersFrame)
        until(lambda: waiting(client) > 1000, "the kernels have no more room")
        client.send(frame(6, 0, 1, bytes(8)))  # PING on a stream
        client.sock.sendall(more)
        until(lambda: [one for one in site.gateway.logged() if one["status"] == 200], "the exchange ends")
        _, others = body_until_the_end(client)
        assert not client.reset
        assert not client.unfinished
        assert any(isinstance(one, GoAwayFrame) for one in others)


def test_a_gateway_that_stops_sends_to_the_last_byte(site: Site, origin: ScriptedUpstream) -> None:
    """Clients stand still before answers of many lengths, so that some of them are all but sent."""
    lengths = range(64 << 10, 256 << 10, 8 << 10)
    clients: list[Raw] = []
    try:
        for length in lengths:
            origin.expect(answer(length))
            clients.append(site.client())
            clients[-1].send(clients[-1].headers(1))
            clients[-1].until(HeadersFrame)
        with site.client() as idle:
            assert idle.alive()
            site.gateway.signal(signal.SIGTERM)
            body_until_the_end(idle)  # connections that carry nothing are closed by now
        for client, length in zip(clients, lengths, strict=True):
            assert body_until_the_end(client)[0] == length
    finally:
        for client in clients:
            client.sock.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (SIZE + 100) + bytes(SIZE),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % SIZE + bytes(SIZE) + b"\r\n",
    ],
    ids=["length", "chunked"],
)
def test_truncated_response_arrives_as_far_as_it_came(site: Site, origin: ScriptedUpstream, reply: bytes) -> None:
    origin.expect(Script(reply, then="closes"))
    with site.client() as client:
        client.send(client.headers(1))
        client.until(HeadersFrame)
        until(lambda: not origin.open, "the application is gone before the client has read")
        total = 0
        while isinstance(found := client.until(DataFrame, RstStreamFrame), DataFrame):
            assert "END_STREAM" not in found.flags
            total += len(found.data)
        assert total == SIZE
        assert found.error_code == ErrorCodes.INTERNAL_ERROR
        assert client.alive()
