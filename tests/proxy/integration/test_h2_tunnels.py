"""WebSockets to applications that speak HTTP/2 (RFC 8441): extended CONNECT, and what clients of both versions see."""

import base64
import contextlib
import hashlib
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hyperframe.frame import DataFrame, HeadersFrame

from tests.ports import ports
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration import upstreams
from tests.proxy.integration.conversation import converse
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.h2.raw import CONNECT, Raw
from tests.proxy.integration.h2_upstream import Http2Upstream
from tests.waiting import until

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


@pytest.fixture(scope="module")
def behind() -> Iterator[Http2Upstream]:
    with contextlib.closing(Http2Upstream(connects=True)) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(behind: Http2Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = serve(tmp_path_factory.mktemp("tunnels"), behind.address, "--h2c", "on", "--upgrade", "*")
    yield running
    running.close()
    assert "Traceback" not in running.log, running.log


def handshake(path: bytes, *lines: bytes, protocol: bytes = b"websocket", method: bytes = b"GET") -> bytes:
    fields = [b"Host: a", b"Connection: Upgrade", b"Upgrade: " + protocol, b"Sec-WebSocket-Version: 13"]
    start = b"%s %s HTTP/1.1" % (method, path)
    return b"\r\n".join([start, *fields, b"Sec-WebSocket-Key: " + KEY, *lines, b"", b""])


def frame(payload: bytes) -> bytes:
    return bytes((0x82, 0x80 | len(payload))) + bytes(4) + payload


@contextlib.contextmanager
def opened(gateway: Gateway, path: bytes) -> Iterator[Client]:
    with Client(gateway.address) as client:
        client.send(handshake(path))
        answer = client.answer()
        assert (answer.status, answer.field("Sec-WebSocket-Accept")) == (101, ACCEPT)
        assert (answer.field("Sec-WebSocket-Protocol"), answer.field("Content-Length")) == ("chat", None)
        yield client


def test_a_handshake_becomes_an_extended_connect(gateway: Gateway, behind: Http2Upstream) -> None:
    with opened(gateway, b"/") as client:
        fields = behind.connected[-1]
        assert (fields[":method"], fields[":protocol"], fields[":path"]) == ("CONNECT", "websocket", "/")
        assert fields["sec-websocket-version"] == "13"
        assert not {"sec-websocket-key", "upgrade", "connection", "te", "host"} & fields.keys()
        for payload in (b"hi", b"there"):
            client.send(frame(payload))
            assert client._take(2 + len(payload)) == bytes((0x82, len(payload))) + payload
        client.sock.shutdown(socket.SHUT_WR)
        assert client._take(5) == b"\x82\x03end"
        assert client.at_end()
    line = until(lambda: [line for line in gateway.logged() if line["status"] == 101], "the log line")[-1]
    assert line["termination"] == "--"


def test_the_servers_end_comes_behind_what_it_said(gateway: Gateway) -> None:
    with opened(gateway, b"/hello") as client:
        assert client._take(7) == b"\x82\x05hello"
        assert client.at_end()


def test_a_reset_of_the_stream_is_one_of_the_application(gateway: Gateway) -> None:
    with opened(gateway, b"/reset") as client:
        assert client._take(6) == b"\x82\x04last"
        assert client.at_end()
    until(lambda: gateway.logged()[-1]["termination"] == "ST", "the log line")


def test_a_client_that_leaves_resets_the_stream(gateway: Gateway, behind: Http2Upstream) -> None:
    before = len(behind.resets)
    with opened(gateway, b"/left") as client:
        client.send(frame(b"hi"))
        assert client._take(4) == b"\x82\x02hi"
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    until(lambda: gateway.logged()[-1]["termination"] == "CT", "the log line")
    with opened(gateway, b"/") as client:  # on the same connection
        client.send(frame(b"hi"))
        assert client._take(4) == b"\x82\x02hi"
    assert len(behind.resets) >= before


def test_a_declined_handshake_is_an_answer(gateway: Gateway, behind: Http2Upstream) -> None:
    with Client(gateway.address) as client:
        for _ in range(2):
            client.send(handshake(b"/declined"))
            answer = client.answer()
            assert (answer.status, answer.body) == (403, b"no")
            client.send(b"GET /bytes?n=3 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.answer().status == 200


def test_a_client_of_http_2_has_a_stream_on_both_sides(gateway: Gateway) -> None:
    with Raw(gateway.port) as client:
        client.send(client.open(1, CONNECT))
        fields = client.fields(client.until(HeadersFrame, stream=1))
        assert fields[":status"] == "200"
        assert "sec-websocket-accept" not in fields
        client.send(DataFrame(1, data=frame(b"hi")))
        assert client.until(DataFrame, stream=1).data == b"\x82\x02hi"
        client.send(DataFrame(1, data=b"", flags=["END_STREAM"]))
        assert client.until(DataFrame, stream=1).data == b"\x82\x03end"


def test_another_protocol_is_asked_for_by_its_name(gateway: Gateway, behind: Http2Upstream) -> None:
    with Client(gateway.address) as client:
        client.send(handshake(b"/hello", protocol=b"connect-udp"))
        answer = client.answer()
        assert (answer.status, answer.field("Upgrade")) == (101, "connect-udp")
        assert behind.connected[-1][":protocol"] == "connect-udp"
        assert client._take(7) == b"\x82\x05hello"


def test_only_get_can_be_a_connect(gateway: Gateway) -> None:
    with Client(gateway.address) as client:
        client.send(handshake(b"/", protocol=b"tcp", method=b"POST"))
        assert client.answer().status == 502
    until(lambda: "upgrades of GET without a body alone" in gateway.log, "why")


@pytest.mark.component("uvicorn")
def test_two_gateways_speak_http_2_for_a_websocket(start: Callable[..., Gateway], tmp_path: Path) -> None:
    with contextlib.closing(upstreams.application("uvicorn", tmp_path)) as application:
        second = start(application.address, "--h2c", "on")
        first = start(f"h2c://127.0.0.1:{second.port}")
        converse(first.port)


@pytest.mark.component("hypercorn")
def test_hypercorn_takes_websockets_over_http_2(start: Callable[..., Gateway], tmp_path: Path) -> None:
    (port,) = ports(1)
    command = [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", f"{upstreams.APPLICATIONS}:asgi"]
    with contextlib.closing(upstreams.Upstream(command, tmp_path / "hypercorn.log", port)):
        converse(start(f"h2c://127.0.0.1:{port}").port)
