"""Frames in any order, well-formed or not: the connection may end, the gateway may not, and nobody else notices."""

import contextlib
import random

import pytest

from tests.proxy.gateway import Gateway
from tests.proxy.integration.h2.random_frames import some_frame
from tests.proxy.integration.h2.raw import Raw, frame
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


def sent(chance: random.Random, client: Raw) -> bytes:
    """A frame, now and then with a byte changed or with any other frame behind it."""
    serialized = some_frame(chance, client.block)
    if chance.random() < 0.03:
        at = chance.randrange(len(serialized))
        serialized = serialized[:at] + chance.randbytes(1) + serialized[at + 1 :]
    if chance.random() < 0.02:
        kind, flags, stream = chance.randrange(12), chance.randrange(256), chance.choice((0, 1, 3, 5))
        serialized += frame(kind, flags, stream, chance.randbytes(chance.randrange(12)))
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
                client.send(sent(chance, client))
            if chance.random() < 0.3:
                client.sock.settimeout(0.02)
                while client.sock.recv(65536):
                    pass
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(client.headers(1))
        assert client.response(1)[1] == b"ok"
    assert "failed inside the gateway" not in gateway.log, gateway.log
