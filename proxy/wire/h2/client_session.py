"""The client's side of one HTTP/2 connection (RFC 9113): what the server sent, what may be sent to it.

    bytes from the server ──► `receive` ──► events
    `sender` ──► bytes for the server

The counterpart of `session`, of the same parts. SETTINGS and PING are answered here, windows kept, broken rules of one
stream answered with RST_STREAM; a broken rule of the connection is a `ConnectionFault`. Nothing is pushed: our
SETTINGS forbid it, and a PUSH_PROMISE is such a fault.
"""

from collections.abc import Callable
from typing import Final

from proxy.wire.h2 import frames, windows
from proxy.wire.h2.blocks import MOST_SECTION, FieldBlock
from proxy.wire.h2.events import DataReceived, GoingAway, ResponseReceived, ServerEvent, StreamReset
from proxy.wire.h2.faults import ConnectionFault, ErrorCode, protocol_fault
from proxy.wire.h2.floods import Floods
from proxy.wire.h2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LAST_STREAM,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from proxy.wire.h2.hpack import Decoder
from proxy.wire.h2.sending import Sender
from proxy.wire.h2.settings import (
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    pack_settings,
    read_settings,
)
from proxy.wire.h2.streams import END_RECEIVED, Ending, Stream, Streams
from proxy.wire.h2.tables import TABLE_SIZE
from proxy.wire.h2.windows import ReceiveWindow

STREAM_WINDOW: Final = 1 << 18
CONNECTION_WINDOW: Final = 1 << 22
"""Bytes that a server may send on a stream before they were read, and on all streams before they were received: those
of a stream alone bound what waits, so that streams whose readers are slow never stop the others."""

_MOST_STREAMS: Final = 100
"""That a server takes at once if it does not say how many."""

_HIGHEST_STREAM: Final = LAST_STREAM - 1000


class ClientSession:
    """A connection, with our side's preface in its output. `clock` is monotonic, in seconds; `max_head` is the size of
    a section that the server is asked to keep to."""

    __slots__ = (
        "_block",
        "_decoder",
        "_events",
        "_floods",
        "_incoming",
        "_next",
        "_rest",
        "_streams",
        "connects",
        "leaving",
        "max_streams",
        "ready",
        "sender",
    )

    def __init__(self, max_head: int, clock: Callable[[], float]) -> None:
        self.ready = False
        """The server's SETTINGS have come: it speaks HTTP/2."""
        self.leaving = False
        """It takes no more streams: it has said GOAWAY, or the numbers are used up."""
        self.connects = False
        """Whether it takes an extended CONNECT (RFC 8441 section 3)."""
        self.max_streams = _MOST_STREAMS
        """How many it takes at once."""
        self._next = 1
        self._streams = Streams()
        self._floods = Floods(clock)
        self._decoder = Decoder(MOST_SECTION)
        self._incoming = ReceiveWindow(CONNECTION_WINDOW)
        self._rest = b""
        self._block: FieldBlock | None = None
        self._events: list[ServerEvent] = []
        self.sender = Sender(self._streams, self._floods)
        settings = (
            (HEADER_TABLE_SIZE, TABLE_SIZE),
            (ENABLE_PUSH, 0),
            (INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (MAX_HEADER_LIST_SIZE, max_head),
        )
        self.sender.send_frame(PREFACE + frames.settings(pack_settings(settings)))
        self.sender.send_frame(frames.window_update(0, CONNECTION_WINDOW - windows.INITIAL))

    def open(self) -> Stream:
        """A new stream, whose head is to be sent next. Only while there is room and the server is not `leaving`."""
        number = self._next
        self._next += 2
        self.leaving = self.leaving or number >= _HIGHEST_STREAM
        self._streams.count(number)
        return self._streams.open(number, self.sender.initial_window, ended=False)

    # Receiving.

    def receive(self, data: bytes) -> list[ServerEvent]:
        """What the next bytes from the server mean.

        Raises `ConnectionFault`; the events of the same bytes before it are lost then.
        """
        data = self._rest + data
        position = 0
        self._floods.look(self._streams.opened)
        events = self._events = []
        while len(data) - position >= frames.HEADER_SIZE:
            high, low, kind, flags, number = frames.HEADER.unpack_from(data, position)
            length = high << 8 | low
            if not self.ready and (kind != SETTINGS or flags & ACK):
                raise protocol_fault("a preface without SETTINGS")
            if length > frames.MAX_FRAME_SIZE:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + frames.HEADER_SIZE
            if start + length > len(data):
                break
            position = start + length
            self._read_frame(kind, flags, number & LAST_STREAM, data, start, position)
        self._rest = data[position:]
        return events

    def _read_frame(self, kind: int, flags: int, number: int, data: bytes, start: int, end: int) -> None:
        block = self._block
        if block is not None and (kind != CONTINUATION or number != block.number):
            raise protocol_fault("another frame within a field section")
        if kind == DATA:
            self._read_data(flags, number, data, start, end)
        elif kind == HEADERS:
            self._read_headers(flags, number, data, start, end)
        elif kind == WINDOW_UPDATE:
            self._read_window_update(number, data, start, end)
        elif kind == RST_STREAM:
            self._read_reset(number, data, start, end)
        elif kind == CONTINUATION:
            self._read_continuation(flags, data, start, end)
        elif kind == PRIORITY:
            self._floods.frame(PRIORITY)
        elif kind > CONTINUATION:
            self._floods.unknown(self._streams.opened)
        elif number or kind == frames.PUSH_PROMISE:
            raise protocol_fault(f"{frames.NAMES[kind]} of a server, or on a stream")
        elif kind == SETTINGS:
            self._read_settings(flags, data[start:end])
        elif kind == PING:
            self._read_ping(flags, data[start:end])
        else:
            self._read_goaway(data, start, end)

    # Frames on streams.

    def _read_headers(self, flags: int, number: int, data: bytes, start: int, end: int) -> None:
        self._check_opened(HEADERS, number)
        if flags & (PADDED | frames.PRIORITY_FLAG):
            start, end = frames.content(data, start, end, flags, number)
        block = FieldBlock(number, data[start:end], ends=bool(flags & END_STREAM))
        if flags & END_HEADERS:
            self._read_section(block)
        else:
            self._block = block

    def _read_continuation(self, flags: int, data: bytes, start: int, end: int) -> None:
        block = self._block
        if block is None:
            raise protocol_fault("CONTINUATION behind no HEADERS")
        block.add(data[start:end])
        if flags & END_HEADERS:
            self._block = None
            self._read_section(block)

    def _read_section(self, block: FieldBlock) -> None:
        section = self._decoder.decode(block.whole())  # whatever becomes of it: the next one builds on it
        stream = self._readable(block.number)
        if stream is not None:
            self._events.append(ResponseReceived(stream, section, ended=block.ends))
            if block.ends:
                self._streams.advance(stream, END_RECEIVED)

    def _read_data(self, flags: int, number: int, data: bytes, start: int, end: int) -> None:
        self._check_opened(DATA, number)
        size = end - start
        self._incoming.take(size)
        if increment := self._incoming.give_back(size):
            self.sender.send_frame(frames.window_update(0, increment))
        if flags & PADDED:
            start, end = frames.content(data, start, end, PADDED, number)
        ends = bool(flags & END_STREAM)
        if start == end and not ends:
            self._floods.empty_data()
        stream = self._readable(number)
        if stream is None:
            return
        if stream.incoming is None:
            stream.incoming = ReceiveWindow(STREAM_WINDOW)
        stream.incoming.take(size)
        self._events.append(DataReceived(stream, data[start:end], size, ended=ends))
        if ends:
            self._streams.advance(stream, END_RECEIVED)

    def _check_opened(self, kind: int, number: int) -> None:
        if not number or self._streams.is_idle(number):
            raise protocol_fault(f"{frames.NAMES[kind]} on a stream that is not open")

    def _readable(self, number: int) -> Stream | None:
        """The stream that more may come on; None for one that was reset, whose last frames are ignored."""
        stream = self._streams.live.get(number)
        if stream is not None and stream.readable:
            return stream
        if stream is not None or self._streams.ending(number) is Ending.ENDED:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "a frame behind the end of its stream")
        return None

    def _read_window_update(self, number: int, data: bytes, start: int, end: int) -> None:
        if end - start != frames.NUMBER_SIZE:
            raise frames.size_fault(WINDOW_UPDATE)
        self._floods.frame(WINDOW_UPDATE)
        increment = frames.number(data, start)
        if not increment:
            raise protocol_fault("WINDOW_UPDATE by 0")
        if not number:
            self.sender.widen(increment)
            return
        self._check_opened(WINDOW_UPDATE, number)
        stream = self._streams.live.get(number)
        if stream is not None:
            stream.window += increment
            if stream.window > windows.LARGEST:
                self.sender.reset(stream, ErrorCode.FLOW_CONTROL_ERROR)
                self._events.append(StreamReset(stream, ErrorCode.FLOW_CONTROL_ERROR, by_peer=False))

    def _read_reset(self, number: int, data: bytes, start: int, end: int) -> None:
        if end - start != frames.NUMBER_SIZE:
            raise frames.size_fault(RST_STREAM)
        self._check_opened(RST_STREAM, number)
        stream = self._streams.live.get(number)
        if stream is not None:
            self._streams.reset(stream, by_peer=True)
            self._events.append(StreamReset(stream, int.from_bytes(data[start:end], "big"), by_peer=True))

    # Frames of the connection.

    def _read_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            if payload:
                raise frames.size_fault(SETTINGS)
            return
        self._floods.frame(SETTINGS)
        values = read_settings(payload)
        self.max_streams = values.get(MAX_CONCURRENT_STREAMS, self.max_streams)
        self.connects = self.connects or values.get(ENABLE_CONNECT_PROTOCOL) == 1  # it cannot take that back
        self.sender.heed(values)
        self.ready = True

    def _read_ping(self, flags: int, payload: bytes) -> None:
        if len(payload) != frames.PING_SIZE:
            raise frames.size_fault(PING)
        self._floods.frame(PING)
        if not flags & ACK:
            self.sender.send_frame(frames.ping(payload, ack=True))

    def _read_goaway(self, data: bytes, start: int, end: int) -> None:
        if end - start < frames.GOAWAY_SIZE:
            raise frames.size_fault(GOAWAY)
        self._floods.frame(GOAWAY)
        self.leaving = True
        code = int.from_bytes(data[start + 4 : start + 8], "big")
        self._events.append(GoingAway(frames.number(data, start), code, data[start + 8 : end]))

    # Windows.

    def give_back(self, stream: Stream, size: int) -> None:
        """So much of what came on a stream was read: the server may send as much again."""
        if stream.incoming is not None and stream.readable:
            increment = stream.incoming.give_back(size)
            if increment:
                self.sender.send_frame(frames.window_update(stream.number, increment))
