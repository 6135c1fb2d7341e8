"""What is cut off a client's bytes before the library sees them."""

import pytest
from h2.errors import ErrorCodes
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
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.h2_frames import PREFACE, ConnectionFault, FrameGuard, goaway
from tests.proxy.h2.raw import frame

PING = PingFrame(0, opaque_data=b"12345678").serialize()
HEADERS = HeadersFrame(1, data=b"abc", flags=["END_HEADERS"]).serialize()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def guard() -> FrameGuard:
    made = FrameGuard(Clock())
    assert made.cut(PREFACE) == PREFACE
    return made


def code_of(made: FrameGuard, data: bytes) -> ErrorCodes:
    with pytest.raises(ConnectionFault) as caught:
        made.cut(data)
    return caught.value.code


@given(st.lists(st.integers(min_value=1, max_value=40)))
def test_frames_pass_whole_however_they_are_cut(cuts: list[int]) -> None:
    whole = PREFACE + PING + HEADERS + DataFrame(1, data=b"x" * 100).serialize() + PING
    made = FrameGuard(Clock())
    passed, position = [], 0
    for cut in [*cuts, len(whole)]:
        passed.append(made.cut(whole[position : position + cut]))
        position += cut
    assert b"".join(passed) == whole
    assert not made.unfinished


def test_another_preface_is_refused_at_its_first_byte() -> None:
    assert code_of(FrameGuard(Clock()), b"G") is ErrorCodes.PROTOCOL_ERROR
    assert code_of(FrameGuard(Clock()), PREFACE[:-1] + b"x") is ErrorCodes.PROTOCOL_ERROR


def test_a_frame_over_the_limit_is_refused_by_its_header() -> None:
    assert code_of(guard(), b"\x00\x40\x01\x00\x00\x00\x00\x00\x01") is ErrorCodes.FRAME_SIZE_ERROR


def test_goaway_is_noted_and_kept_from_the_library() -> None:
    made = guard()
    leaving = GoAwayFrame(0, last_stream_id=0).serialize()
    assert made.cut(PING + leaving + HEADERS) == PING + HEADERS
    assert made.leaving


def test_a_goaway_that_is_wrong_is_the_librarys_to_refuse() -> None:
    made = guard()
    wrong = Frame.serialize(GoAwayFrame(0, last_stream_id=0))[:-1]
    wrong = b"\0\0\x07" + wrong[3:]
    assert made.cut(wrong) == wrong
    assert not made.leaving


def test_a_reset_of_a_stream_that_never_was_is_refused() -> None:
    assert code_of(guard(), RstStreamFrame(1).serialize()) is ErrorCodes.PROTOCOL_ERROR
    made = guard()
    made.cut(HEADERS)
    made.cut(RstStreamFrame(1).serialize())


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
    made = FrameGuard(clock)
    made.cut(PREFACE + HEADERS)
    made.cut(flood.serialize() * most)
    clock.now += 10.1
    made.cut(flood.serialize() * most)
    assert code_of(made, flood.serialize()) is ErrorCodes.ENHANCE_YOUR_CALM


def test_resets_are_counted_in_a_bucket() -> None:
    clock = Clock()
    made = FrameGuard(clock)
    made.cut(PREFACE + HEADERS)
    reset = RstStreamFrame(1).serialize()
    made.cut(reset * 999)
    made.reset()  # one of the gateway's own, for what the client did
    clock.now += 0.5
    made.cut(reset * 50)
    assert code_of(made, reset) is ErrorCodes.ENHANCE_YOUR_CALM


def test_a_page_may_cancel_a_hundred_requests_a_second_for_ever() -> None:
    clock = Clock()
    made = FrameGuard(clock)
    made.cut(PREFACE + HEADERS)
    for _ in range(100):
        made.cut(RstStreamFrame(1).serialize() * 99)
        clock.now += 1.0


def test_priority_updates_are_measured_by_the_requests() -> None:
    made = guard()
    made.cut(b"".join(HeadersFrame(1 + 2 * n, data=b"a", flags=["END_HEADERS"]).serialize() for n in range(1001)))
    update = frame(0x10, 0, 0, b"\0\0\0\1u=1")
    made.cut(update * 4500)
    assert code_of(made, update) is ErrorCodes.ENHANCE_YOUR_CALM


def test_pings_that_measure_a_download_are_no_flood() -> None:
    made = guard()
    made.sent(1 << 20)
    made.cut(PING * 2000)


def test_window_updates_are_measured_by_what_was_sent() -> None:
    made = guard()
    for _ in range(100):
        made.sent(1)  # small messages that a client acknowledges one by one, for the stream and for the connection
    made.cut(WindowUpdateFrame(0, window_increment=1).serialize() * 2200)
    assert code_of(made, WindowUpdateFrame(0, window_increment=1).serialize()) is ErrorCodes.ENHANCE_YOUR_CALM
    made = guard()
    made.sent(1 << 20)
    made.cut(WindowUpdateFrame(0, window_increment=1).serialize() * 4000)
    assert code_of(made, WindowUpdateFrame(0, window_increment=1).serialize() * 100) is ErrorCodes.ENHANCE_YOUR_CALM


def test_a_head_has_bounds_in_bytes_and_in_frames() -> None:
    begin = HeadersFrame(1, data=b"x" * 16000).serialize()
    made = guard()
    made.cut(begin)
    assert made.unfinished
    assert code_of(made, ContinuationFrame(1, data=b"x" * 16000).serialize() * 4) is ErrorCodes.ENHANCE_YOUR_CALM
    made = guard()
    made.cut(begin)
    assert code_of(made, ContinuationFrame(1).serialize() * 33) is ErrorCodes.ENHANCE_YOUR_CALM


def test_a_head_ends_with_its_last_frame() -> None:
    made = guard()
    made.cut(HeadersFrame(1, data=b"abc").serialize() + ContinuationFrame(1, data=b"d").serialize())
    assert made.unfinished
    made.cut(ContinuationFrame(1, data=b"e", flags=["END_HEADERS"]).serialize())
    assert not made.unfinished


def test_trailers_open_no_stream() -> None:
    made = guard()
    made.cut(HeadersFrame(3, data=b"abc", flags=["END_HEADERS"]).serialize() + HEADERS)
    made.cut(RstStreamFrame(3).serialize())
    assert code_of(made, RstStreamFrame(5).serialize()) is ErrorCodes.PROTOCOL_ERROR


def test_settings_cannot_acknowledge_and_set() -> None:
    assert code_of(guard(), b"\0\0\x06\x04\x01\0\0\0\0" + bytes(6)) is ErrorCodes.FRAME_SIZE_ERROR


def test_unknown_frames_pass_to_the_library_up_to_a_number() -> None:
    made = guard()
    unknown = b"\0\0\x01\xfa\0\0\0\0\0?"
    assert made.cut(unknown * 100) == unknown * 100
    assert code_of(made, unknown * 1000) is ErrorCodes.ENHANCE_YOUR_CALM


def test_our_goaway_says_why() -> None:
    frame, _ = Frame.parse_frame_header(memoryview(goaway(5, ErrorCodes.ENHANCE_YOUR_CALM, "calm")[:9]))
    assert isinstance(frame, GoAwayFrame)
    frame.parse_body(memoryview(goaway(5, ErrorCodes.ENHANCE_YOUR_CALM, "calm")[9:]))
    assert (frame.last_stream_id, frame.error_code, frame.additional_data) == (5, 11, b"calm")
