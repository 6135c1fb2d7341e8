"""The client's side of a session: what a server may say, and what ends a stream or the connection."""

import pytest

from proxy.wire.h2 import frames, windows
from proxy.wire.h2.client_session import CONNECTION_WINDOW, STREAM_WINDOW, ClientSession
from proxy.wire.h2.events import DataReceived, GoingAway, ResponseReceived, StreamReset
from proxy.wire.h2.faults import ConnectionFault, ErrorCode
from proxy.wire.h2.hpack import Encoder
from proxy.wire.h2.settings import ENABLE_CONNECT_PROTOCOL, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, pack_settings
from proxy.wire.h2.streams import CLOSED, Stream

HEAD = ((b":status", b"200"), (b"content-type", b"text/plain"))
REQUEST = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"))


def begun(*settings: tuple[int, int]) -> ClientSession:
    """A session whose server has sent its SETTINGS."""
    session = ClientSession(65536, lambda: 0.0)
    assert session.sender.take().startswith(frames.PREFACE)
    assert not session.ready
    assert session.receive(frames.settings(pack_settings(settings))) == []
    assert session.ready
    assert session.sender.take() == frames.SETTINGS_ACK
    return session


def opened(session: ClientSession, *, ended: bool = True) -> Stream:
    stream = session.open()
    session.sender.send_section(stream, REQUEST, ends=ended)
    session.sender.take()
    return stream


def head(number: int, *, ends: bool = False) -> bytes:
    return frames.section(number, Encoder().encode(HEAD), ends=ends)


def data(number: int, body: bytes, flags: int = 0) -> bytes:
    return frames.frame(frames.DATA, flags, number, body)


def test_a_response_comes_in_pieces_of_any_size() -> None:
    session = begun()
    stream = opened(session)
    found = []
    for byte in head(1) + data(1, b"body") + data(1, b"", frames.END_STREAM):
        found += session.receive(bytes([byte]))
    first, second, third = found
    assert isinstance(first, ResponseReceived)
    assert (first.stream, first.section, first.ended) == (stream, HEAD, False)
    assert isinstance(second, DataReceived)
    assert isinstance(third, DataReceived)
    assert (second.data, second.ended, third.data, third.ended) == (b"body", False, b"", True)
    assert stream.state is CLOSED


def test_a_head_may_be_spread_and_padded_and_end_the_stream() -> None:
    session = begun()
    opened(session)
    block = Encoder().encode(HEAD)
    spread = frames.frame(frames.HEADERS, frames.END_STREAM, 1, block[:1])
    spread += frames.frame(frames.CONTINUATION, 0, 1, block[1:2])
    (found,) = session.receive(spread + frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[2:]))
    assert isinstance(found, ResponseReceived)
    assert (found.section, found.ended) == (HEAD, True)
    opened(session)
    padded = b"\x02" + bytes(5) + block + bytes(2)
    flags = frames.END_HEADERS | frames.PADDED | frames.PRIORITY_FLAG
    (found,) = session.receive(frames.frame(frames.HEADERS, flags, 3, padded))
    assert isinstance(found, ResponseReceived)
    (piece,) = session.receive(data(3, b"\x03body" + bytes(3), frames.PADDED))
    assert isinstance(piece, DataReceived)
    assert (piece.data, piece.size) == (b"body", 8)


def test_settings_bound_streams_and_windows() -> None:
    session = begun((MAX_CONCURRENT_STREAMS, 7), (INITIAL_WINDOW_SIZE, 10))
    assert session.max_streams == 7
    stream = opened(session, ended=False)
    assert session.sender.room(stream) == 10
    session.receive(frames.window_update(1, 5) + frames.window_update(0, 1))
    assert session.sender.room(stream) == 15
    assert session.receive(frames.header(0, frames.SETTINGS, frames.ACK, 0)) == []


def test_windows_are_given_back_as_bodies_are_read() -> None:
    session = begun()
    stream = opened(session)
    session.receive(head(1))
    sent = 0
    while sent < STREAM_WINDOW:
        (piece,) = session.receive(data(1, bytes(frames.MAX_FRAME_SIZE)))
        assert isinstance(piece, DataReceived)
        sent += piece.size
    with pytest.raises(ConnectionFault, match="window"):
        session.receive(data(1, b"x"))
    session.give_back(stream, STREAM_WINDOW // 2)
    assert session.sender.take() == frames.window_update(1, STREAM_WINDOW // 2)
    session.give_back(stream, 1)
    assert session.sender.take() == b""


def test_unread_streams_do_not_stop_the_others() -> None:
    session = begun()
    piece = bytes(frames.MAX_FRAME_SIZE)
    for number in range(1, 2 * CONNECTION_WINDOW // STREAM_WINDOW + 3, 2):
        session.sender.send_section(session.open(), REQUEST, ends=True)
        session.receive(head(number))
        for _ in range(STREAM_WINDOW // frames.MAX_FRAME_SIZE):
            session.receive(data(number, piece))
    updates = session.sender.take()
    assert updates.count(frames.window_update(0, CONNECTION_WINDOW // 2)) == 2
    with pytest.raises(ConnectionFault, match="window"):
        session.receive(data(1, b"x"))


def test_frames_on_a_stream_that_was_reset_are_ignored() -> None:
    session = begun()
    stream = opened(session)
    session.sender.reset(stream, ErrorCode.CANCEL)
    assert session.receive(head(1) + data(1, b"x") + frames.window_update(1, 1)) == []
    assert session.receive(frames.rst_stream(1, ErrorCode.CANCEL)) == []
    session.give_back(stream, 1)


def test_a_reset_is_told_with_its_code() -> None:
    session = begun()
    stream = opened(session)
    (reset,) = session.receive(frames.rst_stream(1, ErrorCode.REFUSED_STREAM))
    assert isinstance(reset, StreamReset)
    assert (reset.stream, reset.code, reset.by_peer) == (stream, ErrorCode.REFUSED_STREAM, True)


def test_goaway_says_what_was_acted_upon() -> None:
    session = begun()
    opened(session)
    (found,) = session.receive(frames.goaway(1, ErrorCode.NO_ERROR, "bye"))
    assert isinstance(found, GoingAway)
    assert (found.last_stream, found.code, found.reason, session.leaving) == (1, 0, b"bye", True)


def test_pings_are_answered_and_other_frames_ignored() -> None:
    session = begun()
    session.receive(frames.ping(b"12345678", ack=False) + frames.ping(b"12345678", ack=True))
    assert session.sender.take() == frames.ping(b"12345678", ack=True)
    assert session.receive(frames.frame(frames.PRIORITY, 0, 1, bytes(5)) + frames.frame(0x20, 0, 0, b"x")) == []


def test_a_window_that_overflows_ends_its_stream_alone() -> None:
    session = begun()
    stream = opened(session, ended=False)
    (reset,) = session.receive(frames.window_update(1, windows.LARGEST))
    assert isinstance(reset, StreamReset)
    assert not reset.by_peer
    assert session.sender.take() == frames.rst_stream(stream.number, ErrorCode.FLOW_CONTROL_ERROR)


def test_numbers_that_are_used_up_end_the_connection() -> None:
    session = begun()
    session._next = frames.LAST_STREAM - 1000
    opened(session)
    assert session.leaving


def test_empty_data_is_no_way_to_keep_the_gateway_busy() -> None:
    session = begun()
    opened(session)
    with pytest.raises(ConnectionFault, match="empty DATA"):
        session.receive(head(1) + data(1, b"") * 200)


def test_each_farewell_is_logged_so_few_are_taken() -> None:
    session = begun()
    farewell = frames.goaway(0, ErrorCode.INTERNAL_ERROR, "restart")
    assert len(session.receive(farewell * 10)) == 10
    with pytest.raises(ConnectionFault, match="GOAWAY"):
        session.receive(farewell)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
        (data(3, b"x"), ErrorCode.PROTOCOL_ERROR),
        (head(0), ErrorCode.PROTOCOL_ERROR),
        (head(2), ErrorCode.PROTOCOL_ERROR),
        (head(1, ends=True) + data(1, b"x"), ErrorCode.STREAM_CLOSED),
        (head(1, ends=True) + head(1), ErrorCode.STREAM_CLOSED),
        (frames.frame(frames.CONTINUATION, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 0, 1, b"") + data(1, b""), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 0, 1, b"") + frames.frame(9, 0, 3, b""), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PUSH_PROMISE, 0, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.RST_STREAM, 0, 1, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.WINDOW_UPDATE, 0, 1, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.WINDOW_UPDATE, 0, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (frames.window_update(3, 1), ErrorCode.PROTOCOL_ERROR),
        (frames.header(frames.MAX_FRAME_SIZE + 1, frames.DATA, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_what_no_server_may_send_ends_the_connection(sent: bytes, code: ErrorCode) -> None:
    session = begun()
    opened(session)
    with pytest.raises(ConnectionFault) as caught:
        session.receive(sent)
    assert caught.value.code is code


@pytest.mark.parametrize("sent", [b"HTTP/1.1 400 Bad Request\r\n\r\n", frames.SETTINGS_ACK, bytes(9)])
def test_a_server_begins_with_settings(sent: bytes) -> None:
    with pytest.raises(ConnectionFault, match="preface"):
        ClientSession(65536, lambda: 0.0).receive(sent)


def test_extended_connect_once_offered_stays_offered() -> None:
    session = begun((ENABLE_CONNECT_PROTOCOL, 1))
    session.receive(frames.settings(pack_settings(((MAX_CONCURRENT_STREAMS, 1),))))
    assert session.connects
    assert not begun().connects
