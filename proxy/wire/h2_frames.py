"""The frames that a client sends, looked at before the `h2` library does (RFC 9113 sections 4 to 6).

The library waits for a frame of any announced size before it measures it, has no bound on what a client may make it
do, ends the connection's sending side when the client says GOAWAY, and lets a reset of a stream that never was pass.
Here frames are cut out of the bytes, measured by their header alone, counted, and passed on whole.
"""

from collections.abc import Callable

from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

MAX_FRAME_SIZE = 16384
"""The least that a client may rely on, and all it may send here (RFC 9113 section 4.2)."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LAST_STREAM = 2**31 - 1

_HEADER = 9
_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    0,
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    9,
)
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1

_PERIOD = 10.0
"""Seconds in which frames are counted."""

MOST_RESETS = 1000
RESETS_A_SECOND = 100
"""Requests that a client may have reset, at once and in the long run, by itself or by what it makes the gateway do.

Pages reach hundreds: maps that are moved, videos that are searched, requests that a script aborts. A request that is
reset costs no more than one that is answered, and those are not counted.
"""

_MOST = {
    _PRIORITY: 1000,
    _SETTINGS: 100,
    _PING: 200,
    _WINDOW_UPDATE: 2000,
}
"""Frames of a type that a client may send in a period. They cost it nothing and make the gateway work."""

_EARNED = {_WINDOW_UPDATE, _PING}
"""May be more where bodies are sent: each piece is acknowledged, and some clients measure the line by PING."""

_MOST_EMPTY = 100
_MOST_UNKNOWN = 500
_UNKNOWN_A_REQUEST = 4
"""PRIORITY_UPDATE (RFC 9218 section 7.1) is one of them: browsers send it for what comes into view."""

_NAMES = {
    _PRIORITY: "PRIORITY",
    _SETTINGS: "SETTINGS",
    _PING: "PING",
    _WINDOW_UPDATE: "WINDOW_UPDATE",
}

_MOST_HEAD_BYTES = 65536
_MOST_CONTINUATIONS = 32


class ConnectionFault(Exception):  # noqa: N818 - names what happened
    """The client broke a rule in a way that ends the connection (RFC 9113 section 5.4.1)."""

    def __init__(self, code: ErrorCodes, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class FrameGuard:
    """Cuts the bytes of one connection into frames. `clock` is monotonic, in seconds."""

    __slots__ = (
        "_began",
        "_block",
        "_clock",
        "_continuations",
        "_counts",
        "_credit",
        "_empty",
        "_greeted",
        "_highest",
        "_opened",
        "_resets_until",
        "_rest",
        "_unknown",
        "leaving",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._greeted = False
        self._rest = b""
        self._highest = 0  # the latest stream that the client opened
        self._opened = 0  # the latest of them when the period began
        self._resets_until = 0.0  # when all resets so far have been earned at their rate
        self._block = 0  # bytes of the field block that is under way
        self._continuations = 0
        self._began = clock()
        self._counts: dict[int, int] = {}
        self._empty = 0
        self._unknown = 0
        self._credit = 0
        self.leaving = False
        """The client has said GOAWAY: it opens no more streams, and takes the answers it waits for."""

    @property
    def unfinished(self) -> bool:
        """Whether a field block, or a frame, has begun and not ended."""
        return self._block > 0 or bool(self._rest)

    def sent(self, count: int) -> None:
        """A piece of a body, `count` bytes, goes to the client, which may give its room back twice over."""
        self._credit += 2 + (count >> 9)

    def reset(self) -> None:
        """Count a reset by the client, or by the gateway for what the client did, which costs as much.

        Raises `ConnectionFault`.
        """
        now = self._clock()
        self._resets_until = max(self._resets_until, now) + 1 / RESETS_A_SECOND
        if (self._resets_until - now) * RESETS_A_SECOND > MOST_RESETS:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "too many streams were reset")

    def cut(self, data: bytes) -> bytes:
        """The complete frames in what was received so far. Raises `ConnectionFault`."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        end = len(data)
        position = 0
        if not self._greeted:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "connection preface")
            if end < len(PREFACE):
                self._rest = data
                return b""
            self._greeted = True
            position = len(PREFACE)
        if self._clock() - self._began > _PERIOD:
            self._begin_period()
        passed = 0  # where the frames begin that are passed on in one piece
        pieces: list[bytes] = []
        while end - position >= _HEADER:
            length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            if length > MAX_FRAME_SIZE:
                raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            following = position + _HEADER + length
            if following > end:
                break
            kind = data[position + 3]
            stream = int.from_bytes(data[position + 5 : position + 9], "big") & LAST_STREAM
            if not self._look(kind, data[position + 4], stream, length):
                pieces.append(data[passed:position])
                passed = following
            position = following
        self._rest = data[position:]
        if not pieces:
            return data if position == end else data[:position]
        pieces.append(data[passed:position])
        return b"".join(pieces)

    def _begin_period(self) -> None:
        self._began = self._clock()
        self._counts.clear()
        self._opened = self._highest
        self._empty = self._unknown = self._credit = 0

    def _look(self, kind: int, flags: int, stream: int, length: int) -> bool:
        """Count a frame; False if the library is not to see it."""
        if kind == _DATA:
            if not length and not flags & _END_STREAM:
                self._empty += 1
                self._bound(self._empty, _MOST_EMPTY, "empty DATA")
        elif kind == _HEADERS:
            if stream & 1 and stream > self._highest:
                self._highest = stream
            self._block = 0 if flags & _END_HEADERS else max(1, length)
            self._continuations = 0
        elif kind == _CONTINUATION:
            self._continuations += 1
            self._block += length
            self._bound(self._continuations, _MOST_CONTINUATIONS, "CONTINUATION")
            self._bound(self._block, _MOST_HEAD_BYTES, "header block bytes in CONTINUATION")
            if flags & _END_HEADERS:
                self._block = 0
        elif kind == _GOAWAY and not stream and length >= 8 and not self._block:
            self.leaving = True
            return False
        elif kind == _RST_STREAM:
            if stream > self._highest:
                raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
            self.reset()
        elif kind in _MOST:
            if kind == _SETTINGS and flags & _ACK and length:
                raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "SETTINGS that acknowledge and set")
            self._count(kind)
        elif kind > _CONTINUATION:
            self._unknown += 1
            requests = (self._highest - self._opened) >> 1
            self._bound(self._unknown, _MOST_UNKNOWN + _UNKNOWN_A_REQUEST * requests, "unknown")
        return True

    def _count(self, kind: int) -> None:
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        most = _MOST[kind]
        if kind in _EARNED:
            most += self._credit
        self._bound(count, most, _NAMES[kind])

    @staticmethod
    def _bound(count: int, most: int, name: str) -> None:
        if count > most:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, f"too many {name} frames")


def goaway(last_stream: int, code: ErrorCodes, reason: str = "") -> bytes:
    """A GOAWAY frame. The library's own ends its sending side, so that streams under way could not be answered."""
    frame = GoAwayFrame(0, last_stream_id=last_stream, error_code=code, additional_data=reason.encode())
    serialized: bytes = frame.serialize()
    return serialized
