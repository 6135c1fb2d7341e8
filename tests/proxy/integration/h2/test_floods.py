"""What costs a client nothing and the gateway much is bounded, and said in the log."""

import tracemalloc
from collections.abc import Callable
from typing import cast

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
)

from proxy.downstream.h2.body import IncomingBody
from proxy.downstream.h2.output import Output
from proxy.exchange.request import Request
from proxy.wire.h2.session import STREAM_WINDOW
from proxy.wire.h2.streams import OPEN
from proxy.wire.h2.streams import Stream as WireStream
from proxy.wire.request import RequestFields
from tests.proxy.gateway import Gateway
from tests.proxy.integration.h2.raw import GET, POST, Raw
from tests.proxy.integration.scripted import Script, ScriptedUpstream
from tests.waiting import until

Floods = Callable[[Raw], list[bytes | Frame]]

FLOODS: dict[str, Floods] = {
    "rapid reset": lambda c: [f for n in range(1500) for f in (c.headers(1 + 2 * n), RstStreamFrame(1 + 2 * n))],
    "resets made by the gateway": lambda c: [c.headers(1 + 2 * n, [*GET, ("connection", "x")]) for n in range(1500)],
    "overflowing windows": lambda c: [
        f for n in range(1500) for f in (c.open(1 + 2 * n), c.widen(1 + 2 * n, (1 << 31) - 1))
    ],
    "streams over the limit": lambda c: [c.open(1 + 2 * n) for n in range(1500)],
    "SETTINGS": lambda _: [SettingsFrame(0, settings={4: 65535})] * 101,
    "PING": lambda _: [PingFrame(0)] * 201,
    "empty DATA": lambda c: [c.open(1), *[DataFrame(1)] * 101],
    "PRIORITY": lambda _: [PriorityFrame(1, depends_on=3)] * 1001,
    "small WINDOW_UPDATE": lambda c: [c.widen(0, 1)] * 2001,
    "CONTINUATION in frames": lambda c: [HeadersFrame(1, data=c.block(GET)), *[ContinuationFrame(1)] * 33],
    "CONTINUATION in bytes": lambda c: [HeadersFrame(1), *[ContinuationFrame(1, data=bytes(16000))] * 5],
    "a head that decodes to very much": lambda c: [
        HeadersFrame(
            1,
            data=c.block(GET) + b"\x40\x01x\x7f\xa1\x1e" + b"a" * 4000 + b"\xbe" * 100,
            flags=["END_HEADERS", "END_STREAM"],
        )
    ],
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_connection_and_is_logged(gateway: Gateway, origin: ScriptedUpstream, name: str) -> None:
    origin.expect()
    before = gateway.log.count("HTTP/2 connection of 127.0.0.1 ended")
    with Raw(gateway.port) as client:
        client.send(*FLOODS[name](client))
        error = client.error()
        while error.startswith("RST_STREAM"):
            error = client.error()
        assert error == "GOAWAY ENHANCE_YOUR_CALM"
    until(lambda: gateway.log.count("HTTP/2 connection of 127.0.0.1 ended") > before, "a line in the log")
    with Raw(gateway.port) as client:
        client.send(client.headers(1))
        assert client.response(1)[1] == b"ok"


def test_streams_without_window_end_then_their_connection(impatient: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect(Script(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
    with Raw(impatient.port, settings={4: 0}) as client:
        client.send(*[client.headers(1 + 2 * n) for n in range(9)])
        errors = [client.error() for _ in range(10)]
    assert set(errors[:9]) == {"RST_STREAM CANCEL"}
    assert errors[9] == "GOAWAY ENHANCE_YOUR_CALM"


def test_a_client_that_reads_nothing_is_let_go(impatient: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect(Script(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000)))
    with Raw(impatient.port, settings={4: 1 << 30}) as client:
        client.send(client.widen(0, 1 << 30), *[client.headers(1 + 2 * n, POST) for n in range(50)])
        until(lambda: impatient.access_log.read_text().count('"method":"POST"') >= 50, "the exchanges to end")


def test_body_in_tiny_frames_needs_no_more_than_its_window(gateway: Gateway, origin: ScriptedUpstream) -> None:
    request = Request(b"POST", b"/", 2, RequestFields(), b"", 0.0)
    wire = WireStream(1, OPEN, STREAM_WINDOW)
    unread = IncomingBody(request, wire, cast(Output, None), lambda _deadline: None)
    tracemalloc.start()
    try:
        for _ in range(STREAM_WINDOW // 2):
            unread.arrived(b"ab", 2, ended=False)
        assert tracemalloc.get_traced_memory()[0] < 2 * STREAM_WINDOW
    finally:
        tracemalloc.stop()
    origin.expect()
    with Raw(gateway.port) as client:
        body = [DataFrame(1, data=b"%d" % (number % 10)) for number in range(3000)]
        client.send(client.open(1), *body, DataFrame(1, flags=["END_STREAM"]))
        assert client.response(1)[1] == b"ok"
    assert origin.wait_for(1)[0].data.endswith(b"\r\n\r\n" + b"0123456789" * 300)
