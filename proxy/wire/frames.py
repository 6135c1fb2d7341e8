"""WebSocket frames (RFC 6455 section 5.2), as far as a relay needs them."""

import os
import struct

LONGEST_HEADER = 14
_MASK = 4


def frame_size(head: bytes, *, masked: bool) -> int | None:
    """Bytes of the frame that begins with `head`, header included; None if the header is not complete."""
    if len(head) < 2:
        return None
    size = head[1] & 0x7F
    mask = _MASK if masked else 0
    if size < 126:
        return 2 + mask + size
    if size == 126:
        return None if len(head) < 4 else 4 + mask + int.from_bytes(head[2:4], "big")
    return None if len(head) < 10 else 10 + mask + int.from_bytes(head[2:10], "big")


def close_frame(code: int, *, masked: bool) -> bytes:
    """A close frame with a status code and no reason; only a client's frames are masked (sections 5.1 and 5.5.1)."""
    payload = struct.pack("!H", code)
    if not masked:
        return b"\x88\x02" + payload
    mask = os.urandom(_MASK)
    return b"\x88\x82" + mask + bytes(byte ^ key for byte, key in zip(payload, mask, strict=False))
