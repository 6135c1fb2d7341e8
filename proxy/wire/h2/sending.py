"""What one side of a connection sends: sections and bodies of its streams, as far as the peer's windows allow.

Frames collect here until they are taken all at once.
"""

from collections.abc import Mapping
from typing import Final

from proxy.wire.h2 import frames, windows
from proxy.wire.h2.faults import ConnectionFault, ErrorCode
from proxy.wire.h2.floods import Floods
from proxy.wire.h2.hpack import Encoder
from proxy.wire.h2.settings import HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE
from proxy.wire.h2.streams import END_SENT, Stream, Streams
from proxy.wire.h2.tables import Section

_END_STREAM: Final = frames.END_STREAM


class StreamClosed(Exception):  # noqa: N818 - names what happened
    """Something was to be sent on a stream whose sending side is over."""


class Sender:
    """The sending half of a connection. `floods` counts what the peer may acknowledge."""

    __slots__ = ("_encoder", "_floods", "_frames", "_streams", "initial_window", "window")

    def __init__(self, streams: Streams, floods: Floods) -> None:
        self._streams = streams
        self._floods = floods
        self._encoder = Encoder()
        self._frames: list[bytes] = []
        self.window = windows.INITIAL
        """Bytes of bodies that the peer takes at the moment, on all streams together."""
        self.initial_window = windows.INITIAL
        """Those that it takes on a new stream."""

    # What the peer says of it.

    def heed(self, settings: Mapping[int, int]) -> None:
        """The peer's SETTINGS, which are acknowledged. Raises `ConnectionFault`."""
        if HEADER_TABLE_SIZE in settings:
            self._encoder.allow(settings[HEADER_TABLE_SIZE])
        if INITIAL_WINDOW_SIZE in settings:
            self._resize_windows(settings[INITIAL_WINDOW_SIZE])
        self._frames.append(frames.SETTINGS_ACK)

    def _resize_windows(self, size: int) -> None:
        """Streams that are open gain or lose as much as those to come (RFC 9113 section 6.9.2)."""
        change = size - self.initial_window
        self.initial_window = size
        for stream in self._streams.live.values():
            stream.window += change
            if stream.window > windows.LARGEST:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window overflows")

    def widen(self, increment: int) -> None:
        """WINDOW_UPDATE of the connection. Raises `ConnectionFault`."""
        self.window += increment
        if self.window > windows.LARGEST:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window overflows")

    # Sending.

    def take(self) -> bytes:
        """Everything that is to be sent now."""
        taken = b"".join(self._frames)
        self._frames.clear()
        return taken

    @property
    def pending(self) -> bool:
        """Whether anything is to be sent."""
        return bool(self._frames)

    def send_frame(self, frame: bytes) -> None:
        """A frame that concerns no stream's state."""
        self._frames.append(frame)

    def room(self, stream: Stream) -> int:
        """Bytes of a body that the peer takes on a stream at the moment, perhaps less than none; 0 behind its end."""
        return min(self.window, stream.window) if stream.writable else 0

    def send_section(self, stream: Stream, section: Section, *, ends: bool) -> None:
        """A head, or trailers. Raises `StreamClosed`."""
        if not stream.writable:
            raise StreamClosed
        self._frames.append(frames.section(stream.number, self._encoder.encode(section), ends=ends))
        if ends:
            self._streams.advance(stream, END_SENT)

    def send_data(self, stream: Stream, data: bytes, *, ends: bool) -> None:
        """A piece of a body: no more than there is `room` for, and than `MAX_FRAME_SIZE`."""
        size = len(data)
        self.window -= size
        stream.window -= size
        self._floods.sent(size)
        self._frames.append(frames.header(size, frames.DATA, _END_STREAM if ends else 0, stream.number))
        self._frames.append(data)
        if ends:
            self._streams.advance(stream, END_SENT)

    def end(self, stream: Stream) -> None:
        """The end of a body whose last piece was sent. Raises `StreamClosed`."""
        if not stream.writable:
            raise StreamClosed
        self.send_data(stream, b"", ends=True)

    def abandon(self, stream: Stream) -> None:
        """End a stream, unless it is closed, where the peer need not be told: the connection ends."""
        if stream.number in self._streams.live:
            self._streams.reset(stream, by_peer=False)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream, unless it is closed."""
        if stream.number in self._streams.live:
            self._streams.reset(stream, by_peer=False)
            self._frames.append(frames.rst_stream(stream.number, code))
