"""What costs a client nothing and the gateway much is bounded."""

from collections.abc import Callable

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
    WindowUpdateFrame,
)

from proxy.wire.h2 import frames
from proxy.wire.h2.events import RequestReceived
from proxy.wire.h2.faults import ConnectionFault, ErrorCode
from proxy.wire.h2.session import ServerSession
from tests.proxy.integration.h2.raw import GET
from tests.proxy.wire.h2.peer import Clock, Peer, begun

CALM = ErrorCode.ENHANCE_YOUR_CALM


def code_of(session: ServerSession, received: bytes) -> ErrorCode:
    with pytest.raises(ConnectionFault) as caught:
        session.receive(received)
    return caught.value.code


def opened(clock: Clock | None = None) -> ServerSession:
    """A session with one stream, whose request is not at its end."""
    session = begun(clock)
    session.receive(Peer().open(1))
    return session


@pytest.mark.parametrize(
    ("flood", "most"),
    [
        (SettingsFrame(0), 100),
        (PingFrame(0), 200),
        (PriorityFrame(1), 1000),
        (DataFrame(1), 100),
        (WindowUpdateFrame(0, window_increment=1), 2000),
    ],
)
def test_frames_that_cost_a_client_nothing_are_counted(flood: Frame, most: int) -> None:
    clock = Clock()
    session = opened(clock)
    clock.now += 10.1
    session.receive(flood.serialize() * most)
    clock.now += 10.1
    session.receive(flood.serialize() * most)
    assert code_of(session, flood.serialize()) is CALM


def test_resets_are_counted_in_a_bucket() -> None:
    clock = Clock()
    session = opened(clock)
    reset = RstStreamFrame(1).serialize()
    session.receive(reset * 1000)
    clock.now += 0.5
    session.receive(reset * 50)
    assert code_of(session, reset) is CALM


def test_a_page_may_cancel_a_hundred_requests_a_second_for_ever() -> None:
    clock = Clock()
    session = opened(clock)
    for _ in range(100):
        session.receive(RstStreamFrame(1).serialize() * 99)
        clock.now += 1.0


FAULTS_OF_STREAMS: dict[str, Callable[[Peer, int], bytes]] = {
    "data behind the end": lambda peer, number: peer.headers(number) + DataFrame(number, data=b"x").serialize(),
    "headers behind the end": lambda peer, number: peer.headers(number) * 2,
    "data behind a reset": lambda peer, number: (
        peer.open(number) + RstStreamFrame(number).serialize() + DataFrame(number, data=b"x").serialize()
    ),
    "windows that overflow": lambda peer, number: (
        peer.open(number) + WindowUpdateFrame(number, window_increment=(1 << 31) - 1).serialize()
    ),
}


@pytest.mark.parametrize("name", FAULTS_OF_STREAMS)
def test_resets_that_a_client_provokes_are_counted_as_its_own(name: str) -> None:
    session, peer = begun(), Peer()
    number = 1
    while number < 4000:
        try:
            session.receive(FAULTS_OF_STREAMS[name](peer, number))
        except ConnectionFault as fault:
            assert fault.code is CALM
            break
        session.sender.take()
        number += 2
    assert 900 < number < 2100


def test_refused_streams_are_counted_as_resets() -> None:
    session, peer = begun(), Peer()
    assert code_of(session, b"".join(peer.open(1 + 2 * n) for n in range(1500))) is CALM


def test_priority_updates_are_measured_by_the_requests() -> None:
    session, peer = begun(), Peer()
    for number in range(1, 2003, 2):
        (event,) = session.receive(peer.headers(number))
        assert isinstance(event, RequestReceived)
        session.sender.send_section(event.stream, ((b":status", b"200"),), ends=True)
    update = frames.frame(0x10, 0, 0, b"\0\0\0\1u=1")
    session.receive(update * 4500)
    assert code_of(session, update * 5) is CALM


def test_unknown_frames_are_ignored_up_to_a_number() -> None:
    session = begun()
    unknown = b"\0\0\x01\xfa\0\0\0\0\0?"
    assert session.receive(unknown * 500) == []
    assert code_of(session, unknown) is CALM


def test_pings_that_measure_a_download_are_no_flood() -> None:
    session = opened()
    send(session, 1 << 20)
    session.receive(PingFrame(0).serialize() * 2000)


def send(session: ServerSession, *sizes: int) -> None:
    """Send pieces of a body."""
    (event,) = session.receive(Peer().headers(3))
    assert isinstance(event, RequestReceived)
    for size in sizes:
        session.sender.send_data(event.stream, bytes(size), ends=False)


def test_window_updates_are_measured_by_what_was_sent() -> None:
    update = WindowUpdateFrame(0, window_increment=1).serialize()
    session = opened()
    send(session, *[1] * 100)  # small messages, acknowledged one by one, for the stream and for the connection
    session.receive(update * 2200)
    assert code_of(session, update) is CALM
    session = opened()
    send(session, 1 << 20)
    session.receive(update * 4000)
    assert code_of(session, update * 100) is CALM


def test_a_head_has_bounds_in_bytes_and_in_frames() -> None:
    begin = HeadersFrame(1, data=b"x" * 16000).serialize()
    session = begun()
    session.receive(begin)
    assert code_of(session, ContinuationFrame(1, data=b"x" * 16000).serialize() * 4) is CALM
    session = begun()
    session.receive(begin)
    assert code_of(session, ContinuationFrame(1).serialize() * 33) is CALM


def test_a_head_that_decodes_to_very_much_is_refused() -> None:
    session, peer = begun(), Peer()
    block = peer.block(GET) + b"\x40\x01x\x7f\xa1\x1e" + b"a" * 4000 + b"\xbe" * 100
    head = HeadersFrame(1, data=block, flags=["END_HEADERS", "END_STREAM"])
    assert code_of(session, head.serialize()) is CALM
