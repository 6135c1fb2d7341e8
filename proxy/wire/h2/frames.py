"""The layout of frames (RFC 9113 sections 4 and 6), and those that either side sends."""

from struct import Struct
from typing import Final

from proxy.wire.h2.faults import ConnectionFault, ErrorCode, protocol_fault

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with, before its SETTINGS (RFC 9113 section 3.4)."""

HEADER_SIZE: Final = 9
MAX_FRAME_SIZE: Final = 16384
"""Bytes of payload. The least that a peer may rely on; here all that is accepted and sent (RFC 9113 section 4.2)."""

LAST_STREAM: Final = 2**31 - 1

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

NAMES: Final = (
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
)

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

HEADER: Final = Struct("!HBBBI")
"""Length (16 high bits, 8 low ones), type, flags, stream with the reserved bit."""

PRIORITY_SIZE: Final = 5
NUMBER_SIZE: Final = 4
PING_SIZE: Final = 8
GOAWAY_SIZE: Final = 8
"""Bytes of payload: of what PRIORITY says, of RST_STREAM and WINDOW_UPDATE, of PING, of GOAWAY at least."""


def size_fault(kind: int) -> ConnectionFault:
    """A frame of a size that its kind does not have."""
    return ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{NAMES[kind]} of a wrong size")


def header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload of `length`."""
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A whole frame."""
    return header(len(payload), kind, flags, stream) + payload


def content(data: bytes, start: int, end: int, flags: int, stream: int) -> tuple[int, int]:
    """Where the content of a DATA or HEADERS payload begins and ends, without padding and priority.

    `flags` may have PRIORITY_FLAG for HEADERS alone. Raises `ConnectionFault` (RFC 9113 sections 4.2, 5.3.2, 6.1, 6.2).
    """
    padding = 0
    if flags & PADDED:
        if start == end:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "no room for the length of the padding")
        padding = data[start]
        start += 1
    if flags & PRIORITY_FLAG:
        if end - start < PRIORITY_SIZE:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "no room for the priority")
        check_priority(data, start, stream)
        start += PRIORITY_SIZE
    if padding > end - start:
        raise protocol_fault("padding longer than its frame")
    return start, end - padding


def check_priority(data: bytes, start: int, stream: int) -> None:
    """Priorities are ignored, but a stream cannot depend on itself. Raises `ConnectionFault`."""
    if number(data, start) == stream:
        raise protocol_fault("a stream that depends on itself")


def number(data: bytes, start: int) -> int:
    """The 31-bit number that begins there."""
    return int.from_bytes(data[start : start + 4], "big") & LAST_STREAM


# Frames with a payload of their own.


def section(stream: int, block: bytes, *, ends: bool) -> bytes:
    """HEADERS that carry an encoded field section, and the CONTINUATION frames that a long one needs.

    `ends`: nothing follows on the stream.
    """
    flags = END_STREAM if ends else 0
    if len(block) <= MAX_FRAME_SIZE:
        return header(len(block), HEADERS, flags | END_HEADERS, stream) + block
    pieces = [frame(HEADERS, flags, stream, block[:MAX_FRAME_SIZE])]
    for start in range(MAX_FRAME_SIZE, len(block), MAX_FRAME_SIZE):
        piece = block[start : start + MAX_FRAME_SIZE]
        last = END_HEADERS if start + MAX_FRAME_SIZE >= len(block) else 0
        pieces.append(frame(CONTINUATION, last, stream, piece))
    return b"".join(pieces)


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """RST_STREAM (RFC 9113 section 6.4)."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def settings(payload: bytes) -> bytes:
    """SETTINGS (RFC 9113 section 6.5)."""
    return frame(SETTINGS, 0, 0, payload)


SETTINGS_ACK: Final = header(0, SETTINGS, ACK, 0)


def ping(opaque: bytes, *, ack: bool) -> bytes:
    """PING with its eight bytes (RFC 9113 section 6.7)."""
    return frame(PING, ACK if ack else 0, 0, opaque)


def goaway(last_stream: int, code: ErrorCode, reason: str) -> bytes:
    """GOAWAY (RFC 9113 section 6.8); `reason` is for debugging the peer."""
    return frame(GOAWAY, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + reason.encode())


def window_update(stream: int, increment: int) -> bytes:
    """WINDOW_UPDATE (RFC 9113 section 6.9); stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))
