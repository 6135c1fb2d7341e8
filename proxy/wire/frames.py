"""WebSocket frames (RFC 6455 section 5.2), as far as a relay needs them."""

import os
from typing import Final

LONGEST_HEADER: Final = 14
_MASK: Final = 4
_MOST_CONTROL: Final = 125
_FIN: Final = 0x80
_CLOSE: Final = 0x8
_PING: Final = 0x9
_PONG: Final = 0xA


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


def close_frame(code: int, reason: bytes = b"", *, masked: bool) -> bytes:
    """A close frame; only a client's frames are masked (sections 5.1 and 5.5.1)."""
    return _control_frame(_CLOSE, code.to_bytes(2, "big") + reason, masked=masked)


def ping_frame(payload: bytes, *, masked: bool) -> bytes:
    """A ping, which is answered by a pong with the same payload (sections 5.5.2 and 5.5.3)."""
    return _control_frame(_PING, payload, masked=masked)


def _control_frame(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    head = bytes((_FIN | opcode, (0x80 if masked else 0) | len(payload)))
    if not masked:
        return head + payload
    mask = os.urandom(_MASK)
    return head + mask + _unmasked(payload, mask)


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    return bytes([byte ^ mask[position % _MASK] for position, byte in enumerate(payload)])


class PongFilter:
    """Follows the frames of one direction, and takes out pongs with this payload, which answer the relay's pings."""

    __slots__ = ("_held", "_masked", "fragmented", "payload", "pings", "taken_out")

    def __init__(self, payload: bytes, *, masked: bool) -> None:
        self.payload = payload
        self._masked = masked
        self._held = b""
        """A pong that is not complete, or the header of a frame."""
        self.fragmented = False
        """Frames of the last message are still to come (section 5.4)."""
        self.pings = 0
        """How many pings have passed."""
        self.taken_out = 0
        """How many pongs did not."""

    @property
    def holds(self) -> bool:
        """Whether something has come that was neither passed on nor taken out."""
        return bool(self._held)

    def feed(self, data: bytes, left: int) -> tuple[bytes, int]:
        """What is to be passed on, and how much of its last frame is still to come.

        `left` bytes of `data` belong to a frame that has begun before. At most a control frame is held back.
        """
        data = self._held + data
        pieces = []
        start, position = 0, left
        while position < len(data):
            size = self._size_of_frame(data[position : position + LONGEST_HEADER + _MOST_CONTROL])
            if size is None:
                break
            if data[position] == _FIN | _PONG and self._is_own(data[position : position + size]):
                pieces.append(data[start:position])
                start = position + size
                self.taken_out += 1
            position += size
        end = min(position, len(data))
        self._held = data[end:]
        pieces.append(data[start:end])
        return b"".join(pieces), position - end

    def _size_of_frame(self, begun: bytes) -> int | None:
        """The size of the frame that has begun so; None if its header, or a pong, is not complete."""
        size = frame_size(begun, masked=self._masked)
        if size is None:
            return None
        opcode = begun[0] & 0x0F
        if opcode == _PONG and len(begun) < size <= LONGEST_HEADER + _MOST_CONTROL:
            return None
        if opcode == _PING:
            self.pings += 1
        elif opcode < _CLOSE:
            self.fragmented = not begun[0] & _FIN
        return size

    def _is_own(self, frame: bytes) -> bool:
        if not self._masked:
            return frame[2:] == self.payload
        return _unmasked(frame[2 + _MASK :], frame[2 : 2 + _MASK]) == self.payload
