"""SETTINGS (RFC 9113 section 6.5): what a peer may say of itself."""

from struct import Struct
from typing import Final

from proxy.wire.h2 import windows
from proxy.wire.h2.faults import ConnectionFault, ErrorCode, protocol_fault
from proxy.wire.h2.frames import MAX_FRAME_SIZE

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
LARGEST_FRAME: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8  # RFC 8441 section 3

_SETTING: Final = Struct("!HI")
_MOST_FRAME: Final = (1 << 24) - 1


def pack_settings(values: tuple[tuple[int, int], ...]) -> bytes:
    """The payload that says these values."""
    return b"".join([_SETTING.pack(key, value) for key, value in values])


def read_settings(payload: bytes) -> dict[int, int]:
    """What a payload says; the last word counts. Unknown settings are among them.

    Raises `ConnectionFault` for a wrong size, and for values that RFC 9113 section 6.5.2 and RFC 8441 section 3 forbid.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that end within a setting")
    values: dict[int, int] = {}
    for key, value in _SETTING.iter_unpack(payload):
        if key == INITIAL_WINDOW_SIZE and value > windows.LARGEST:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"windows of {value} bytes")
        if key == LARGEST_FRAME and not MAX_FRAME_SIZE <= value <= _MOST_FRAME:
            raise protocol_fault(f"frames of {value} bytes")
        if key in (ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL) and value > 1:
            raise protocol_fault(f"setting {key} is {value}")
        values[key] = value
    return values
