"""Which protocol an upstream is asked to switch to, and which 101 is an answer to that."""

import pytest

from proxy.wire.fields import upstream_block
from proxy.wire.request import parse_request_fields
from proxy.wire.request_line import HeadLimits
from proxy.wire.response import parse_response_head
from proxy.wire.upgrade import WEBSOCKETS, Upgrades, fault_of_switch

LIMITS = HeadLimits(8192, 8192, 100, 65536)
HANDSHAKE = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def chosen(offer: bytes, *permitted: str, more: bytes = b"", method: bytes = b"POST", minor: int = 1) -> bytes:
    block = b"Host: a\r\nConnection: Upgrade\r\n%sUpgrade: %s" % (more, offer)
    return Upgrades(permitted).choose(parse_request_fields(block, LIMITS, method, minor))


@pytest.mark.parametrize(
    ("offer", "permitted", "asked"),
    [
        (b"tcp", ["tcp"], b"tcp"),
        (b"TCP", ["tcp"], b"TCP"),
        (b"tcp", ["websocket"], b""),
        (b"tcp", [], b""),
        (b"tcp", ["*"], b"tcp"),
        (b"SPDY/3.1", ["spdy/3.1"], b"SPDY/3.1"),
        (b"SPDY/3.1", ["spdy"], b"SPDY/3.1"),
        (b"SPDY/3", ["spdy/3.1"], b""),
        (b"first, second", ["second", "first"], b"first"),
        (b"first , second", ["second"], b"second"),
        (b"first\r\nUpgrade: second", ["second"], b"second"),
        (b"h2c, tcp", ["*"], b"tcp"),
        (b"tailscale-control-protocol", ["*"], b"tailscale-control-protocol"),
        (b"a/b/c, ;, , x y, tcp", ["*"], b"tcp"),
    ],
)
def test_the_first_permitted_offer_is_asked_for(offer: bytes, permitted: list[str], asked: bytes) -> None:
    assert chosen(offer, *permitted) == asked


@pytest.mark.parametrize(
    "offer", [b"h2c", b"H2C", b"h2", b"h3", b"HTTP/2.0", b"http/1.1", b"TLS/1.0", b"tls", b"h2c/1", b"websocket/13"]
)
def test_protocols_that_carry_requests_are_never_asked_for(offer: bytes) -> None:
    assert chosen(offer, "*") == b""
    assert chosen(offer, offer.decode().lower()) == b""


def test_a_websocket_needs_its_handshake() -> None:
    assert chosen(b"websocket", "*", method=b"GET") == b""
    assert chosen(b"WebSocket", "*", more=HANDSHAKE, method=b"GET") == b"websocket"
    assert chosen(b"WebSocket", "*", more=HANDSHAKE) == b""
    assert chosen(b"websocket", "tcp", more=HANDSHAKE, method=b"GET") == b""
    assert chosen(b"h2c, websocket", "websocket", more=HANDSHAKE, method=b"GET") == b"websocket"


def test_nothing_is_upgraded_without_connection_or_in_http_1_0() -> None:
    assert chosen(b"tcp", "*", minor=0) == b""
    assert Upgrades("*").choose(parse_request_fields(b"Host: a\r\nUpgrade: tcp", LIMITS)) == b""
    assert WEBSOCKETS.choose(parse_request_fields(b"Host: a\r\nConnection: Upgrade", LIMITS)) == b""


def test_a_body_goes_with_other_protocols_than_websocket() -> None:
    fields = parse_request_fields(
        b"Host: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2", LIMITS, b"POST", 1
    )
    assert fields.upgrades == (b"tcp",)
    assert b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" in upstream_block(fields, b"a", b"", upgrade=b"tcp")
    assert b"pgrade" not in upstream_block(fields, b"a", b"")


@pytest.mark.parametrize(
    ("protocol", "answer", "fault"),
    [
        (b"tcp", b"Upgrade: tcp", ""),
        (b"TCP", b"Upgrade: Tcp", ""),
        (b"tcp", b"Upgrade: udp", "Upgrade differs"),
        (b"tcp", b"Upgrade: tcp, h2c", "Upgrade differs"),
        (b"tcp", b"Upgrade: h2c\r\nUpgrade: tcp", "Upgrade differs"),
        (b"tcp", b"X: y", "Upgrade differs"),
        (b"", b"Upgrade: tcp", "a 101 to a request without Upgrade"),
        (b"websocket", b"Upgrade: websocket", "Sec-WebSocket-Accept differs"),
        (b"websocket", b"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", ""),
    ],
)
def test_a_101_names_the_protocol_that_was_asked_for(protocol: bytes, answer: bytes, fault: str) -> None:
    fields = parse_request_fields(b"Host: a\r\n" + HANDSHAKE[:-2], LIMITS)
    response = parse_response_head(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" + answer)
    assert fault_of_switch(protocol, fields, response, whole=True) == fault
    assert fault_of_switch(b"tcp", fields, response, whole=False) == "a 101 before the whole request was sent"
