"""Frames in any order, well-formed or not: the connection may end, the gateway may not, and nobody else notices."""

import contextlib
import random

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.proxy.gateway import Gateway
from tests.proxy.h2.raw import CONNECT, GET, POST, Raw, frame
from tests.proxy.integration.scripted import Script, ScriptedUpstream

CONNECTIONS = 120
REPLIES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    b"rubbish",
)


def some_frame(chance: random.Random, client: Raw) -> bytes:
    """A frame that may well make sense where it stands."""
    stream = chance.choice((0, 1, 1, 3, 3, 5, 7, 9, 2))
    section = chance.choice((GET, POST, [*POST, ("content-length", "5")], CONNECT, [("x-trailer", "1")], GET[1:]))
    ends = ["END_STREAM"] if chance.random() < 0.5 else []
    whole = ["END_HEADERS"] if chance.random() < 0.9 else []
    made: Frame = chance.choice(
        (
            lambda: HeadersFrame(stream or 1, data=client.block(section), flags=[*ends, *whole]),
            lambda: HeadersFrame(stream or 1, data=client.block(section), flags=[*ends, *whole]),
            lambda: DataFrame(stream or 1, data=bytes(chance.randrange(40)), flags=ends),
            lambda: RstStreamFrame(stream or 1, error_code=chance.randrange(20)),
            lambda: SettingsFrame(0, settings={4: chance.choice((0, 1, 1000, 1 << 20)), 1: chance.choice((0, 100))}),
            lambda: WindowUpdateFrame(stream, window_increment=chance.choice((1, 1000, (1 << 31) - 1))),
            lambda: PingFrame(0, opaque_data=b"12345678"),
            lambda: PriorityFrame(stream or 1, depends_on=0),
            lambda: ContinuationFrame(stream or 1, data=b"", flags=whole),
            lambda: GoAwayFrame(0),
        )
    )()
    serialized = made.serialize()
    if chance.random() < 0.03:
        at = chance.randrange(len(serialized))
        serialized = serialized[:at] + bytes([chance.randrange(256)]) + serialized[at + 1 :]
    if chance.random() < 0.02:
        serialized += frame(chance.randrange(12), chance.randrange(256), stream, chance.randbytes(chance.randrange(12)))
    return serialized


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_a_client_sends_disturbs_the_gateway(
    gateway: Gateway, origin: ScriptedUpstream, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(CONNECTIONS):
        reply = chance.choice(REPLIES)
        origin.expect(Script(reply, then="closes" if b"short" in reply or b"rubbish" in reply else "stays"))
        with Raw(gateway.port) as client, contextlib.suppress(OSError):
            for _ in range(chance.randrange(1, 25)):
                client.send(some_frame(chance, client))
            if chance.random() < 0.3:
                client.sock.settimeout(0.02)
                while client.sock.recv(65536):
                    pass
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(client.headers(1))
        assert client.response(1)[1] == b"ok"
    assert "failed inside the gateway" not in gateway.log, gateway.log
