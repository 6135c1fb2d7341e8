"""The library with the gateway's own streams: what it keeps of a connection that lives long."""

import tracemalloc

import pytest
from h2.connection import H2Connection
from hpack import Encoder
from hyperframe.frame import HeadersFrame, RstStreamFrame

from proxy.downstream.h2.library import new_library
from proxy.wire.h2_frames import PREFACE
from tests.proxy.gateway import Gateway
from tests.proxy.h2.raw import GET, POST, Raw
from tests.proxy.integration.scripted import ScriptedUpstream


def opened() -> H2Connection:
    library = new_library(100, 32768)
    library.receive_data(PREFACE)
    library.data_to_send()
    return library


def requests(library: H2Connection, first: int, count: int, *, reset: bool) -> None:
    """So many requests, one after the other, that are answered or reset by the client."""
    block = Encoder().encode([(name, value) for name, value in GET if name != ":authority"])
    for number in range(first, first + 2 * count, 2):
        library.receive_data(HeadersFrame(number, data=block, flags=["END_STREAM", "END_HEADERS"]).serialize())
        if reset:
            library.receive_data(RstStreamFrame(number).serialize())
        else:
            library.send_headers(number, [(":status", "200")], end_stream=True)
        library.data_to_send()


@pytest.mark.parametrize("reset", [False, True], ids=["answered", "reset"])
def test_a_connection_that_lives_long_does_not_grow(reset: bool) -> None:
    library = opened()
    requests(library, 1, 1000, reset=reset)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        requests(library, 2001, 3000, reset=reset)
        assert tracemalloc.get_traced_memory()[0] < before + 64_000
    finally:
        tracemalloc.stop()


def test_frames_in_flight_to_a_reset_stream_are_no_fault(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(client.open(1, [*POST, ("connection", "x")]))
        assert client.error() == "RST_STREAM PROTOCOL_ERROR"
        for number in range(3, 403, 2):
            client.send(client.headers(number))
            client.response(number)
        client.send(client.headers(1, [("x-sum", "1")]))
        assert client.error() == "RST_STREAM STREAM_CLOSED"
        assert client.alive()
