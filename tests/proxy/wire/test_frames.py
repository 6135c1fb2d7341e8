"""WebSocket frames against wsproto, which makes and reads them too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from proxy.wire.frames import LONGEST_HEADER, close_frame, frame_size


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
