"""What a session makes of a client's frames, and what it sends."""

import tracemalloc

import pytest
from hpack import Decoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.h2 import frames
from proxy.wire.h2.events import (
    DataReceived,
    Event,
    PingAcknowledged,
    RequestReceived,
    StreamReset,
    TrailersReceived,
)
from proxy.wire.h2.faults import ConnectionFault, ErrorCode
from proxy.wire.h2.frames import PREFACE
from proxy.wire.h2.sending import StreamClosed
from proxy.wire.h2.session import CONNECTION_WINDOW, STREAM_WINDOW, ServerSession
from proxy.wire.h2.streams import CLOSED, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, OPEN, Stream
from tests.proxy.integration.h2.raw import GET, POST
from tests.proxy.wire.h2.peer import MAX_STREAMS, Clock, Peer, begun, data, sent

OK = ((b":status", b"200"),)


def fault(session: ServerSession, received: bytes) -> ErrorCode:
    with pytest.raises(ConnectionFault) as caught:
        session.receive(received)
    return caught.value.code


def request(session: ServerSession, received: bytes) -> Stream:
    """The stream of the one request in these bytes."""
    (event,) = session.receive(received)
    assert isinstance(event, RequestReceived)
    return event.stream


def shape(event: Event) -> tuple[object, ...]:
    """An event as far as tests compare it."""
    name = event.__class__.__name__
    if isinstance(event, PingAcknowledged):
        return name, event.opaque
    number = event.stream.number
    if isinstance(event, StreamReset):
        return name, number, event.code, event.by_peer
    if isinstance(event, DataReceived):
        return name, number, event.data, event.size, event.ended
    return name, number, event.section, event.ended


def test_the_preface_of_the_server() -> None:
    session = ServerSession(MAX_STREAMS, 32768, Clock())
    first, second = sent(session)
    assert isinstance(first, SettingsFrame)
    assert first.settings == {1: 4096, 3: MAX_STREAMS, 4: STREAM_WINDOW, 6: 32768, 8: 1}
    assert isinstance(second, WindowUpdateFrame)
    assert second.window_increment == CONNECTION_WINDOW - 65535


def test_another_preface_is_refused_at_its_first_byte() -> None:
    assert fault(ServerSession(1, 1, Clock()), b"G") is ErrorCode.PROTOCOL_ERROR
    assert fault(ServerSession(1, 1, Clock()), PREFACE[:-1] + b"x") is ErrorCode.PROTOCOL_ERROR


def test_a_preface_without_settings_is_none() -> None:
    for first in (PingFrame(0), SettingsFrame(0, flags=["ACK"])):
        session = ServerSession(1, 1, Clock())
        assert fault(session, PREFACE + first.serialize()) is ErrorCode.PROTOCOL_ERROR


@given(st.lists(st.integers(min_value=1, max_value=40)))
def test_frames_mean_the_same_however_they_are_cut(cuts: list[int]) -> None:
    def whole() -> bytes:
        peer = Peer()
        return (
            PREFACE
            + SettingsFrame(0).serialize()
            + peer.open(1)
            + data(1, b"x" * 100)
            + data(1, b"y", padding=9)
            + peer.headers(3)
            + HeadersFrame(5, data=(block := peer.block(GET))[:2]).serialize()
            + ContinuationFrame(5, data=block[2:], flags=["END_HEADERS"]).serialize()
            + peer.headers(1, [("x-sum", "1")])
            + RstStreamFrame(3).serialize()
            + PingFrame(0, opaque_data=b"12345678", flags=["ACK"]).serialize()
        )

    session = ServerSession(MAX_STREAMS, 32768, Clock())
    expected = [shape(event) for event in session.receive(whole())]
    assert [kind for kind, *_ in expected] == [
        "RequestReceived",
        "DataReceived",
        "DataReceived",
        "RequestReceived",
        "RequestReceived",
        "TrailersReceived",
        "StreamReset",
        "PingAcknowledged",
    ]
    session = ServerSession(MAX_STREAMS, 32768, Clock())
    found: list[Event] = []
    position = 0
    for cut in [*cuts, len(whole())]:
        found += session.receive(whole()[position : position + cut])
        position += cut
    assert [shape(event) for event in found] == expected
    assert not session.unfinished


def test_what_has_begun_and_not_ended_is_told() -> None:
    session = begun()
    assert not session.unfinished
    session.receive(b"\0")
    assert session.unfinished
    session = begun()
    session.receive(HeadersFrame(1, data=b"\x82").serialize())
    assert session.unfinished


def test_a_frame_over_the_limit_is_refused_by_its_header() -> None:
    assert fault(begun(), b"\x00\x40\x01\x00\x00\x00\x00\x00\x01") is ErrorCode.FRAME_SIZE_ERROR


def test_the_states_of_a_stream() -> None:
    session, peer = begun(), Peer()
    stream = request(session, peer.open(1))
    assert (stream.state, stream.readable, stream.writable) == (OPEN, True, True)
    assert repr(stream) == "<stream 1 OPEN>"
    session.sender.send_section(stream, OK, ends=True)
    assert (stream.state, stream.readable, stream.writable) == (HALF_CLOSED_LOCAL, True, False)
    session.receive(data(1, ends=True))
    assert (stream.state, stream.readable, stream.writable) == (CLOSED, False, False)
    other = request(session, peer.headers(3))
    assert (other.state, other.readable, other.writable) == (HALF_CLOSED_REMOTE, False, True)
    session.sender.send_section(other, OK, ends=False)
    session.sender.send_data(other, b"body", ends=True)
    assert other.state is CLOSED


def test_nothing_is_sent_behind_the_end() -> None:
    session, peer = begun(), Peer()
    stream = request(session, peer.headers(1))
    session.sender.send_section(stream, OK, ends=True)
    session.sender.take()
    with pytest.raises(StreamClosed):
        session.sender.send_section(stream, OK, ends=True)
    with pytest.raises(StreamClosed):
        session.sender.end(stream)
    assert session.sender.room(stream) == 0
    session.sender.reset(stream, ErrorCode.CANCEL)
    assert sent(session) == []


def test_a_stream_that_is_abandoned_ends_without_a_word() -> None:
    session, peer = begun(), Peer()
    stream = request(session, peer.open(1))
    assert not session.sender.pending
    for _ in range(2):
        session.sender.abandon(stream)
        assert stream.state is CLOSED
    assert not session.sender.pending
    assert session.receive(data(1, b"x", ends=True)) == []
    assert sent(session) == []


def test_a_stream_without_a_window_is_starved() -> None:
    session, peer = begun(settings={4: 0}), Peer()
    stream = request(session, peer.headers(1))
    assert stream.starved
    session.receive(WindowUpdateFrame(1, window_increment=1).serialize())
    assert not stream.starved
    session.sender.send_data(stream, b"x", ends=True)
    assert not stream.starved


def test_a_response_in_frames() -> None:
    session, peer = begun(), Peer()
    stream = request(session, peer.headers(1))
    session.sender.send_section(stream, (*OK, (b"x", b"a" * 40000)), ends=False)
    session.sender.send_data(stream, b"body", ends=False)
    session.sender.send_section(stream, ((b"x-sum", b"1"),), ends=True)
    head, *continued, body, trailers = sent(session)
    assert isinstance(head, HeadersFrame)
    assert head.flags == set()
    assert [one.flags for one in continued] == [{"END_HEADERS"}]
    decoder = Decoder()
    block = head.data + b"".join(one.data for one in continued)  # type: ignore[attr-defined]
    assert decoder.decode(block)[-1] == ("x", "a" * 40000)
    assert isinstance(body, DataFrame)
    assert (body.data, body.flags) == (b"body", set())
    assert isinstance(trailers, HeadersFrame)
    assert trailers.flags == {"END_HEADERS", "END_STREAM"}


@pytest.mark.parametrize("size", [16384, 16385, 32768, 40000])
def test_long_sections_are_cut_where_frames_end(size: int) -> None:
    whole = frames.section(1, bytes(size), ends=True)
    position, lengths, ends = 0, [], []
    while position < len(whole):
        high, low, kind, flags, number = frames.HEADER.unpack_from(whole, position)
        lengths.append(high << 8 | low)
        assert kind == (frames.CONTINUATION if position else frames.HEADERS)
        assert number == 1
        assert bool(flags & frames.END_STREAM) == (position == 0)
        ends.append(bool(flags & frames.END_HEADERS))
        position += 9 + lengths[-1]
    assert sum(lengths) == size
    assert max(lengths) <= 16384
    assert ends == [False] * (len(ends) - 1) + [True]


def test_windows_for_sending_are_kept() -> None:
    session, peer = begun(settings={4: 10}), Peer()
    stream = request(session, peer.headers(1))
    assert session.sender.room(stream) == 10
    session.sender.send_data(stream, b"12345678", ends=False)
    assert session.sender.room(stream) == 2
    session.receive(SettingsFrame(0, settings={4: 5}).serialize())
    assert session.sender.room(stream) == -3
    session.receive(WindowUpdateFrame(1, window_increment=100_000).serialize())
    assert session.sender.room(stream) == 65535 - 8
    session.receive(WindowUpdateFrame(0, window_increment=100_000).serialize())
    assert session.sender.room(stream) == 100_000 - 3


def test_windows_for_receiving_are_given_back_by_halves() -> None:
    session, peer = begun(), Peer()
    stream = request(session, peer.open(1))
    piece = bytes(16384)
    for _ in range(STREAM_WINDOW // 16384):
        session.receive(data(1, piece))
    session.sender.take()
    for _ in range(7):
        session.give_back(stream, 16384)
    assert sent(session) == []
    session.give_back(stream, 16384)
    (update,) = sent(session)
    assert isinstance(update, WindowUpdateFrame)
    assert (update.stream_id, update.window_increment) == (1, STREAM_WINDOW // 2)
    for _ in range(STREAM_WINDOW // 2 // 16384):
        session.receive(data(1, piece))
    assert fault(session, data(1, b"x")) is ErrorCode.FLOW_CONTROL_ERROR


def test_the_window_of_the_connection_is_kept() -> None:
    session, peer = begun(), Peer()
    streams = [request(session, peer.open(1 + 2 * n)) for n in range(5)]
    for stream in streams[:4]:
        for _ in range(STREAM_WINDOW // 16384):
            session.receive(data(stream.number, bytes(16384)))
    for _ in range(16):
        session.give_back(streams[0], 16384)
    updates = sent(session)
    assert {(one.stream_id, one.window_increment) for one in updates} == {(1, STREAM_WINDOW // 2)}  # type: ignore[attr-defined]
    for _ in range(16):
        session.give_back(streams[1], 16384)
    assert (0, CONNECTION_WINDOW // 2) in {(one.stream_id, one.window_increment) for one in sent(session)}  # type: ignore[attr-defined]
    for _ in range(16):
        session.receive(data(9, bytes(16384)))
        session.give_back(streams[2], 0)
    for _ in range(16):
        session.receive(data(1, bytes(16384)))
    assert fault(session, data(3, b"x")) is ErrorCode.FLOW_CONTROL_ERROR


def test_a_stream_whose_client_has_ended_needs_no_room() -> None:
    session, peer = begun(), Peer()
    stream = request(session, peer.open(1))
    for _ in range(15):
        session.receive(data(1, bytes(16384)))
    session.receive(data(1, bytes(16384), ends=True))
    session.give_back(stream, STREAM_WINDOW)
    assert sent(session) == []


def test_padding_takes_room_and_is_no_data() -> None:
    session, peer = begun(), Peer()
    request(session, peer.open(1))
    (event,) = session.receive(data(1, b"abc", padding=200, ends=True))
    assert isinstance(event, DataReceived)
    assert (event.data, event.size, event.ended) == (b"abc", 204, True)
    (event,) = session.receive(peer.headers(3, GET, "PADDED", "PRIORITY"))
    assert isinstance(event, RequestReceived)


@pytest.mark.parametrize(
    ("kind", "flags", "payload", "code"),
    [
        (frames.DATA, 8, b"", ErrorCode.FRAME_SIZE_ERROR),
        (frames.DATA, 8, b"\x01", ErrorCode.PROTOCOL_ERROR),
        (frames.HEADERS, 0xC, b"", ErrorCode.FRAME_SIZE_ERROR),
        (frames.HEADERS, 0x24, b"\0\0\0\0", ErrorCode.FRAME_SIZE_ERROR),
        (frames.HEADERS, 0x2C, b"\x05\0\0\0\0\0\x82\x82", ErrorCode.PROTOCOL_ERROR),
        (frames.HEADERS, 0x24, b"\0\0\0\x01\x05\x82", ErrorCode.PROTOCOL_ERROR),
        (frames.PRIORITY, 0, bytes(6), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_padding_and_priority_have_bounds(kind: int, flags: int, payload: bytes, code: ErrorCode) -> None:
    session, peer = begun(), Peer()
    request(session, peer.open(1))
    assert fault(session, frames.frame(kind, flags, 1, payload)) is code


def test_padding_of_a_whole_frame_leaves_nothing() -> None:
    session, peer = begun(), Peer()
    request(session, peer.open(1))
    (event,) = session.receive(frames.frame(frames.DATA, 9, 1, b"\x02\0\0"))
    assert shape(event) == ("DataReceived", 1, b"", 3, True)


def test_a_stream_over_the_limit_is_refused() -> None:
    session, peer = begun(), Peer()
    events = session.receive(b"".join(peer.open(1 + 2 * n) for n in range(MAX_STREAMS + 1)))
    assert len(events) == MAX_STREAMS
    (refused,) = sent(session)
    assert isinstance(refused, RstStreamFrame)
    assert (refused.stream_id, refused.error_code) == (1 + 2 * MAX_STREAMS, ErrorCode.REFUSED_STREAM)
    session.receive(data(1 + 2 * MAX_STREAMS, b"on its way", ends=True))
    assert sent(session) == []


def resets(session: ServerSession) -> list[tuple[int, int]]:
    return [(one.stream_id, one.error_code) for one in sent(session) if isinstance(one, RstStreamFrame)]


@pytest.mark.parametrize("late", ["data", "section"])
def test_frames_in_flight_to_a_reset_stream_are_ignored(late: str) -> None:
    session, peer = begun(), Peer()
    stream = request(session, peer.open(1))
    session.sender.reset(stream, ErrorCode.PROTOCOL_ERROR)
    assert stream.state is CLOSED
    assert resets(session) == [(1, ErrorCode.PROTOCOL_ERROR)]
    for number in range(3, 403, 2):
        session.sender.send_section(request(session, peer.headers(number)), OK, ends=True)
    session.sender.take()
    assert session.receive(data(1, b"x") if late == "data" else peer.headers(1)) == []
    assert sent(session) == []
    assert request(session, peer.headers(501)).number == 501


@pytest.mark.parametrize("late", ["data", "section"])
def test_what_follows_a_reset_of_the_peers_is_refused(late: str) -> None:
    session, peer = begun(), Peer()
    request(session, peer.open(1))
    (event,) = session.receive(RstStreamFrame(1, error_code=8).serialize())
    assert shape(event) == ("StreamReset", 1, 8, True)
    assert session.receive(data(1, b"x") if late == "data" else peer.headers(1)) == []
    assert resets(session) == [(1, ErrorCode.STREAM_CLOSED)]


def test_only_the_latest_resets_are_remembered() -> None:
    session, peer = begun(), Peer()
    for number in range(1, 601, 2):
        session.sender.reset(request(session, peer.open(number)), ErrorCode.CANCEL)
    session.sender.take()
    assert session.receive(data(599, b"x")) == []
    assert resets(session) == []
    session.receive(data(1, b"x"))
    assert resets(session) == [(1, ErrorCode.STREAM_CLOSED)]
    assert fault(session, peer.headers(3)) is ErrorCode.STREAM_CLOSED


def test_streams_below_the_latest_are_told_apart() -> None:
    session, peer = begun(), Peer()
    session.sender.send_section(request(session, peer.headers(1)), OK, ends=True)
    request(session, peer.open(9))
    assert fault(begun_after(9), peer.headers(1)) is ErrorCode.PROTOCOL_ERROR
    assert fault(session, Peer().headers(1)) is ErrorCode.STREAM_CLOSED


def begun_after(number: int) -> ServerSession:
    """A session whose first stream has this number."""
    session = begun()
    request(session, Peer().open(number))
    return session


@pytest.mark.parametrize("number", [3, 5, 7])
def test_a_number_that_was_left_out_is_no_stream(number: int) -> None:
    session, peer = begun(), Peer()
    request(session, peer.open(1))
    request(session, peer.open(9))
    assert fault(session, peer.headers(number)) is ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("sends_data", [True, False])
def test_a_stream_that_its_client_has_ended_takes_no_more(sends_data: bool) -> None:
    session, peer = begun(), Peer()
    stream = request(session, peer.headers(1))
    (event,) = session.receive(data(1, b"x") if sends_data else peer.headers(1))
    assert shape(event) == ("StreamReset", 1, ErrorCode.STREAM_CLOSED, False)
    assert stream.state is CLOSED
    assert resets(session) == [(1, ErrorCode.STREAM_CLOSED)]


def test_a_window_of_a_stream_that_overflows_ends_it_alone() -> None:
    session, peer = begun(), Peer()
    request(session, peer.open(1))
    (event,) = session.receive(WindowUpdateFrame(1, window_increment=(1 << 31) - 1).serialize())
    assert shape(event) == ("StreamReset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)
    assert resets(session) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]


@pytest.mark.parametrize(
    "late", [WindowUpdateFrame(1, window_increment=9), RstStreamFrame(1), PriorityFrame(1, depends_on=3)]
)
def test_some_frames_may_come_on_closed_streams(late: WindowUpdateFrame) -> None:
    session, peer = begun(), Peer()
    session.sender.send_section(request(session, peer.headers(1)), OK, ends=True)
    session.sender.take()
    assert session.receive(late.serialize()) == []
    assert sent(session) == []


def test_settings_and_pings_are_answered() -> None:
    session = begun()
    assert session.receive(SettingsFrame(0, settings={99: 7, 1: 0}).serialize()) == []
    (answer,) = sent(session)
    assert isinstance(answer, SettingsFrame)
    assert answer.flags == {"ACK"}
    session.receive(PingFrame(0, opaque_data=b"12345678").serialize())
    (pong,) = sent(session)
    assert isinstance(pong, PingFrame)
    assert (pong.opaque_data, pong.flags) == (b"12345678", {"ACK"})
    assert session.receive(SettingsFrame(0, flags=["ACK"]).serialize()) == []
    (event,) = session.receive(PingFrame(0, opaque_data=b"12345678", flags=["ACK"]).serialize())
    assert shape(event) == ("PingAcknowledged", b"12345678")
    assert sent(session) == []


def setting(key: int, value: int) -> bytes:
    return key.to_bytes(2, "big") + value.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (bytes(3), ErrorCode.FRAME_SIZE_ERROR),
        (setting(2, 2), ErrorCode.PROTOCOL_ERROR),
        (setting(8, 2), ErrorCode.PROTOCOL_ERROR),
        (setting(4, 1 << 31), ErrorCode.FLOW_CONTROL_ERROR),
        (setting(5, 16383), ErrorCode.PROTOCOL_ERROR),
        (setting(5, 1 << 24), ErrorCode.PROTOCOL_ERROR),
        (setting(4, 0) + setting(4, (1 << 31) - 1), ErrorCode.FLOW_CONTROL_ERROR),
    ],
)
def test_settings_have_bounds(payload: bytes, code: ErrorCode) -> None:
    session, peer = begun(), Peer()
    request(session, peer.open(1))
    session.receive(WindowUpdateFrame(1, window_increment=1).serialize())
    assert fault(session, frames.settings(payload)) is code


def test_settings_within_bounds_are_taken() -> None:
    session = begun()
    values = setting(2, 1) + setting(8, 0) + setting(5, 16384) + setting(5, (1 << 24) - 1) + setting(4, (1 << 31) - 1)
    assert session.receive(frames.settings(values)) == []


def test_the_window_of_the_connection_may_not_overflow() -> None:
    session = begun()
    session.receive(WindowUpdateFrame(0, window_increment=(1 << 31) - 1 - 65535).serialize())
    assert fault(session, WindowUpdateFrame(0, window_increment=1).serialize()) is ErrorCode.FLOW_CONTROL_ERROR


@pytest.mark.parametrize("number", [0, 1])
def test_a_window_update_by_nothing_is_refused(number: int) -> None:
    session, peer = begun(), Peer()
    request(session, peer.open(1))
    update = frames.frame(frames.WINDOW_UPDATE, 0, number, bytes(4))
    assert fault(session, update) is ErrorCode.PROTOCOL_ERROR


def test_the_peers_table_size_is_heeded() -> None:
    session, peer = begun(settings={1: 0}), Peer()
    session.sender.send_section(request(session, peer.headers(1)), OK, ends=True)
    (head,) = sent(session)
    assert isinstance(head, HeadersFrame)
    assert head.data == b"\x20\x88"


def test_goaway_of_the_client_is_noted() -> None:
    session, peer = begun(), Peer()
    assert not session.leaving
    assert session.receive(GoAwayFrame(0).serialize()) == []
    assert session.leaving
    assert request(session, peer.headers(1)).number == 1


def test_our_goaway_says_why() -> None:
    session = begun()
    session.sender.send_frame(frames.goaway(5, ErrorCode.ENHANCE_YOUR_CALM, "calm"))
    (said,) = sent(session)
    assert isinstance(said, GoAwayFrame)
    assert (said.last_stream_id, said.error_code, said.additional_data) == (5, 11, b"calm")


def test_sections_are_told_whether_they_end_their_stream() -> None:
    session, peer = begun(), Peer()
    stream = request(session, peer.open(1, POST))
    (event,) = session.receive(peer.open(1, [("x-sum", "1")]))
    assert shape(event) == ("TrailersReceived", 1, ((b"x-sum", b"1"),), False)
    assert stream.state is OPEN
    (event,) = session.receive(peer.headers(1, [("x-sum", "1")]))
    assert isinstance(event, TrailersReceived)
    assert event.ended
    assert stream.state is HALF_CLOSED_REMOTE


def test_what_came_before_a_fault_is_of_no_account() -> None:
    session, peer = begun(), Peer()
    assert fault(session, peer.headers(1) + PingFrame(0).serialize()[:-1] + b"\0" * 40) is not None


def test_rejected_streams_are_counted_as_resets() -> None:
    session, peer = begun(), Peer()
    for number in range(1, 2001, 2):
        session.reject(request(session, peer.open(number)), ErrorCode.PROTOCOL_ERROR)
    last = request(session, peer.open(2001))
    with pytest.raises(ConnectionFault) as caught:
        session.reject(last, ErrorCode.PROTOCOL_ERROR)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("reset", [False, True], ids=["answered", "reset"])
def test_a_connection_that_lives_long_does_not_grow(reset: bool) -> None:
    clock = Clock()
    session, peer = begun(clock), Peer()

    def requests(first: int, count: int) -> None:
        for number in range(first, first + 2 * count, 2):
            clock.now += 0.1
            stream = request(session, peer.headers(number))
            if reset:
                assert isinstance(session.receive(RstStreamFrame(number).serialize())[0], StreamReset)
            else:
                session.sender.send_section(stream, OK, ends=True)
            session.sender.take()

    requests(1, 1000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        requests(2001, 3000)
        assert tracemalloc.get_traced_memory()[0] < before + 64_000
    finally:
        tracemalloc.stop()
