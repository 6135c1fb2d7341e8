"""WebSocket frames against wsproto, which makes and reads them too."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from proxy.wire.frames import LONGEST_HEADER, PongFilter, close_frame, frame_size, ping_frame


@given(st.sampled_from([0, 1, 125, 126, 65535, 65536, 70000]), st.booleans())
def test_the_size_is_known_once_the_header_is_whole(length: int, masked: bool) -> None:
    made = bytes(FrameProtocol(client=masked, extensions=[]).send_data(bytes(length)))
    header = len(made) - length
    assert header <= LONGEST_HEADER
    mask = 4 if masked else 0
    for count in range(header - mask):
        assert frame_size(made[:count], masked=masked) is None
    assert frame_size(made[: header - mask], masked=masked) == len(made)
    assert frame_size(made, masked=masked) == len(made)


@pytest.mark.parametrize("masked", [True, False])
@given(st.sampled_from([1001, 1012]))
def test_a_close_frame_is_read_as_such(masked: bool, code: int) -> None:
    reader = FrameProtocol(client=not masked, extensions=[])
    reader.receive_bytes(close_frame(code, masked=masked))
    (frame,) = reader.received_frames()
    assert frame.opcode is Opcode.CLOSE
    assert frame.payload == (CloseReason(code), "")


@pytest.mark.parametrize("masked", [True, False])
def test_a_ping_is_read_as_such(masked: bool) -> None:
    reader = FrameProtocol(client=not masked, extensions=[])
    reader.receive_bytes(ping_frame(b"12345678", masked=masked))
    (frame,) = reader.received_frames()
    assert (frame.opcode, bytes(frame.payload)) == (Opcode.PING, b"12345678")


OWN = b"\x01\x02\x03\x04\x05\x06\x07\x08"


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bool, list[bytes], list[bool]]:
    """Frames as Autobahn's suite sends them, and which of them are pongs to our pings."""
    masked = draw(st.booleans())
    protocol = FrameProtocol(client=masked, extensions=[])
    made, own = [], []
    for kind in draw(st.lists(st.sampled_from(["data", "part", "ping", "pong", "own", "alike"]), max_size=8)):
        if kind in ("data", "part"):
            payload = bytes(draw(st.sampled_from([0, 1, 125, 126, 400, 65_536])))
            frame = bytes(protocol.send_data(payload, fin=kind == "data"))
            if draw(st.booleans()) and frame[0] & 0x0F:
                frame = bytes((frame[0] | 0x40,)) + frame[1:]  # compressed
        else:
            payload = {"own": OWN, "alike": OWN + b"!"}.get(kind, bytes(draw(st.sampled_from([0, 8, 125]))))
            frame = bytes(protocol.ping(payload) if kind == "ping" else protocol.pong(payload))
        made.append(frame)
        own.append(kind == "own")
    return masked, made, own


@given(conversations(), st.lists(st.integers(0, 300_000), max_size=8))
def test_only_pongs_to_own_pings_are_taken_out(
    conversation: tuple[bool, list[bytes], list[bool]], cuts: list[int]
) -> None:
    masked, frames, own = conversation
    stream = b"".join(frames)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pongs = PongFilter(OWN, masked=masked)
    passed, left = b"", 0
    for start, end in itertools.pairwise(places):
        piece, left = pongs.feed(stream[start:end], left)
        passed += piece
    assert passed == b"".join(frame for frame, is_own in zip(frames, own, strict=True) if not is_own)
    assert (left, pongs.holds, pongs.taken_out) == (0, False, sum(own))
    assert pongs.pings == sum(frame[0] & 0x0F == Opcode.PING for frame in frames)
    data = [frame for frame in frames if not frame[0] & 0x08]
    assert pongs.fragmented == bool(data and not data[-1][0] & 0x80)


def test_a_long_pong_is_no_pong() -> None:
    """Control frames have 125 bytes at most (RFC 6455 section 5.5): one that has more is not held back."""
    pongs = PongFilter(OWN, masked=False)
    assert pongs.feed(b"\x8a\x7e\x10\x00abc", 0) == (b"\x8a\x7e\x10\x00abc", 4093)
