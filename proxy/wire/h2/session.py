"""The server's side of one HTTP/2 connection (RFC 9113): what came, what may be sent, what must be answered.

    bytes from the client ──► `receive` ──► events
    `sender` ──► bytes for the client

What needs no decision is dealt with here: SETTINGS and PING are answered, windows kept, broken rules of one stream
answered with RST_STREAM. A broken rule of the connection is a `ConnectionFault`; its owner then sends
GOAWAY. What requests mean, and which are served, is decided elsewhere.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from proxy.wire.h2 import frames, windows
from proxy.wire.h2.blocks import MOST_SECTION, FieldBlock
from proxy.wire.h2.events import (
    DataReceived,
    Event,
    PingAcknowledged,
    RequestReceived,
    StreamReset,
    TrailersReceived,
)
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
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    pack_settings,
    read_settings,
)
from proxy.wire.h2.streams import END_RECEIVED, Ending, Stream, Streams
from proxy.wire.h2.tables import TABLE_SIZE, Section
from proxy.wire.h2.windows import ReceiveWindow

STREAM_WINDOW: Final = 1 << 18
CONNECTION_WINDOW: Final = 1 << 20
"""Bytes that a client may send before they were read off a stream, and off all streams together."""


class _Preface(Enum):
    """How much of what a client begins with has come (RFC 9113 section 3.4)."""

    NOTHING = auto()
    MAGIC = auto()  # SETTINGS must follow
    WHOLE = auto()


class ServerSession:
    """A connection, with our side's preface in its output. `clock` is monotonic, in seconds.

    No more than `max_streams` are open at once; `max_head` is the size of a section that clients are asked to keep to.
    """

    __slots__ = (
        "_block",
        "_decoder",
        "_events",
        "_floods",
        "_incoming",
        "_max_streams",
        "_preface",
        "_rest",
        "_streams",
        "leaving",
        "sender",
    )

    def __init__(self, max_streams: int, max_head: int, clock: Callable[[], float]) -> None:
        self.leaving = False
        """The client has said GOAWAY: it opens no more streams, and takes the responses it waits for."""
        self._max_streams = max_streams
        self._streams = Streams()
        self._floods = Floods(clock)
        self._decoder = Decoder(MOST_SECTION)
        self._incoming = ReceiveWindow(CONNECTION_WINDOW)
        self._preface = _Preface.NOTHING
        self._rest = b""
        self._block: FieldBlock | None = None
        self._events: list[Event] = []
        self.sender = Sender(self._streams, self._floods)
        settings = (
            (HEADER_TABLE_SIZE, TABLE_SIZE),
            (MAX_CONCURRENT_STREAMS, max_streams),
            (INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (MAX_HEADER_LIST_SIZE, max_head),
            (ENABLE_CONNECT_PROTOCOL, 1),
        )
        self.sender.send_frame(frames.settings(pack_settings(settings)))
        self.sender.send_frame(frames.window_update(0, CONNECTION_WINDOW - windows.INITIAL))

    @property
    def unfinished(self) -> bool:
        """Whether a field section, or a frame, has begun and not ended."""
        return self._block is not None or bool(self._rest)

    # Receiving.

    def receive(self, data: bytes) -> list[Event]:
        """What the next bytes from the client tell.

        Raises `ConnectionFault`; what the same bytes told before it is then of no account.
        """
        if self._rest:
            data = self._rest + data
        position = len(PREFACE) if self._preface is _Preface.NOTHING and self._read_magic(data) else 0
        end = len(data) if self._preface is not _Preface.NOTHING else 0
        self._floods.look(self._streams.opened)
        events = self._events = []
        while end - position >= frames.HEADER_SIZE:
            high, low, kind, flags, number = frames.HEADER.unpack_from(data, position)
            length = high << 8 | low
            if length > frames.MAX_FRAME_SIZE:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + frames.HEADER_SIZE
            if start + length > end:
                break
            position = start + length
            number &= LAST_STREAM
            if self._block is not None or self._preface is _Preface.MAGIC:
                self._check_order(kind, flags, number)
            if kind == HEADERS:
                self._read_headers(flags, number, data, start, position)
            elif kind == DATA:
                self._read_data(flags, number, data, start, position)
            else:
                self._read_frame(kind, flags, number, data, start, position)
        self._rest = data[position:]
        return events

    def _read_magic(self, data: bytes) -> bool:
        """Whether the bytes that a client begins with are here."""
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise protocol_fault("connection preface")
        if len(data) < len(PREFACE):
            return False
        self._preface = _Preface.MAGIC
        return True

    def _check_order(self, kind: int, flags: int, number: int) -> None:
        """Whether a frame may stand where only some may (RFC 9113 sections 3.4 and 4.3)."""
        if self._block is not None and (kind != CONTINUATION or number != self._block.number):
            raise protocol_fault("another frame within a field section")
        if self._preface is _Preface.MAGIC:
            if kind != SETTINGS or flags & ACK:
                raise protocol_fault("a preface without SETTINGS")
            self._preface = _Preface.WHOLE

    def _read_frame(self, kind: int, flags: int, number: int, data: bytes, start: int, end: int) -> None:
        """A frame that is neither HEADERS nor DATA; its payload is `data[start:end]`."""
        if kind == WINDOW_UPDATE:
            self._read_window_update(number, data, start, end)
        elif kind == RST_STREAM:
            self._read_reset(number, data, start, end)
        elif kind == CONTINUATION:
            self._read_continuation(flags, data, start, end)
        elif kind == PRIORITY:
            self._read_priority(number, data, start, end)
        elif kind > CONTINUATION:
            self._floods.unknown(self._streams.opened)
        else:
            self._read_control(kind, flags, number, data[start:end])

    def _read_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """A frame that concerns the connection."""
        if number or kind == frames.PUSH_PROMISE:
            raise protocol_fault(f"{frames.NAMES[kind]} of a client, or on a stream")
        if kind == SETTINGS:
            self._read_settings(flags, payload)
        elif kind == PING:
            self._read_ping(flags, payload)
        elif len(payload) < frames.GOAWAY_SIZE:
            raise frames.size_fault(GOAWAY)
        else:
            self.leaving = True

    # Frames on streams.

    def _read_headers(self, flags: int, number: int, data: bytes, start: int, end: int) -> None:
        if not number:
            raise protocol_fault("HEADERS on stream 0")
        if flags & (PADDED | frames.PRIORITY_FLAG):
            start, end = frames.content(data, start, end, flags, number)
        ends = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            self._read_section(number, data[start:end], ends=ends)
        else:
            self._block = FieldBlock(number, data[start:end], ends=ends)

    def _read_continuation(self, flags: int, data: bytes, start: int, end: int) -> None:
        block = self._block
        if block is None:
            raise protocol_fault("CONTINUATION behind no HEADERS")
        block.add(data[start:end])
        if flags & END_HEADERS:
            self._block = None
            self._read_section(block.number, block.whole(), ends=block.ends)

    def _read_section(self, number: int, block: bytes, *, ends: bool) -> None:
        section = self._decoder.decode(block)  # whatever becomes of it: the next one builds on it
        streams = self._streams
        stream = streams.live.get(number)
        if stream is None:
            if not number & 1:
                raise protocol_fault("a stream of the server's")
            if number > streams.highest:
                self._open(number, section, ends=ends)
            else:
                self._read_late_section(number)
        elif not stream.readable:
            self._fail(stream, ErrorCode.STREAM_CLOSED)
        else:
            self._events.append(TrailersReceived(stream, section, ended=ends))
            if ends:
                streams.advance(stream, END_RECEIVED)

    def _open(self, number: int, section: Section, *, ends: bool) -> None:
        streams = self._streams
        streams.count(number)
        if len(streams.live) >= self._max_streams:
            streams.note_reset(number, by_peer=False)
            self._refuse(number, ErrorCode.REFUSED_STREAM)
            return
        stream = streams.open(number, self.sender.initial_window, ended=ends)
        self._events.append(RequestReceived(stream, section, ended=ends))

    def _read_late_section(self, number: int) -> None:
        """A section for a stream that is closed (RFC 9113 section 5.1)."""
        ending = self._streams.ending(number)
        if ending is Ending.RESET_BY_PEER:
            self._refuse(number, ErrorCode.STREAM_CLOSED)
        elif ending is Ending.SKIPPED:
            raise protocol_fault("a stream below the latest")
        elif ending is Ending.ENDED:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")

    def _read_data(self, flags: int, number: int, data: bytes, start: int, end: int) -> None:
        size = end - start
        if self._streams.is_idle(number):
            raise protocol_fault("DATA on an idle stream")
        self._incoming.take(size)
        if flags & PADDED:
            start, end = frames.content(data, start, end, PADDED, number)
        ends = bool(flags & END_STREAM)
        if start == end and not ends:
            self._floods.empty_data()
        stream = self._streams.live.get(number)
        if stream is None:
            self._give_back(size)
            if self._streams.ending(number) is not Ending.RESET:
                self._refuse(number, ErrorCode.STREAM_CLOSED)
            return
        if not stream.readable:
            self._give_back(size)
            self._fail(stream, ErrorCode.STREAM_CLOSED)
            return
        if size:
            if stream.incoming is None:
                stream.incoming = ReceiveWindow(STREAM_WINDOW)
            stream.incoming.take(size)
        self._events.append(DataReceived(stream, data[start:end], size, ended=ends))
        if ends:
            self._streams.advance(stream, END_RECEIVED)

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
        stream = self._streams.live.get(number)
        if stream is not None:
            stream.window += increment
            if stream.window > windows.LARGEST:
                self._fail(stream, ErrorCode.FLOW_CONTROL_ERROR)
        elif self._streams.is_idle(number):
            raise protocol_fault("WINDOW_UPDATE on an idle stream")

    def _read_reset(self, number: int, data: bytes, start: int, end: int) -> None:
        if end - start != frames.NUMBER_SIZE:
            raise frames.size_fault(RST_STREAM)
        if self._streams.is_idle(number):
            raise protocol_fault("RST_STREAM on an idle stream")
        self._floods.reset()
        stream = self._streams.live.get(number)
        if stream is not None:
            self._streams.reset(stream, by_peer=True)
            self._events.append(StreamReset(stream, int.from_bytes(data[start:end], "big"), by_peer=True))

    def _read_priority(self, number: int, data: bytes, start: int, end: int) -> None:
        if not number:
            raise protocol_fault("PRIORITY on stream 0")
        if end - start != frames.PRIORITY_SIZE:
            raise frames.size_fault(PRIORITY)
        frames.check_priority(data, start, number)
        self._floods.frame(PRIORITY)

    def _fail(self, stream: Stream, code: ErrorCode) -> None:
        """Reset a stream whose client broke a rule that concerns no other."""
        self.reject(stream, code)
        self._events.append(StreamReset(stream, code, by_peer=False))

    def _refuse(self, number: int, code: ErrorCode) -> None:
        """The same for a stream that is not open."""
        self.sender.send_frame(frames.rst_stream(number, code))
        self._floods.reset()

    # Frames of the connection.

    def _read_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            if payload:
                raise frames.size_fault(SETTINGS)
            self._decoder.allow(TABLE_SIZE)
            return
        self._floods.frame(SETTINGS)
        self.sender.heed(read_settings(payload))

    def _read_ping(self, flags: int, payload: bytes) -> None:
        if len(payload) != frames.PING_SIZE:
            raise frames.size_fault(PING)
        self._floods.frame(PING)
        if flags & ACK:
            self._events.append(PingAcknowledged(payload))
        else:
            self.sender.send_frame(frames.ping(payload, ack=True))

    def _give_back(self, size: int) -> bool:
        increment = self._incoming.give_back(size)
        if increment:
            self.sender.send_frame(frames.window_update(0, increment))
        return increment > 0

    def give_back(self, stream: Stream, size: int) -> bool:
        """So much of what came on a stream was read, or will not be: the client may send as much again.

        True if a WINDOW_UPDATE is to be sent now.
        """
        updated = self._give_back(size)
        if stream.incoming is not None and stream.readable:
            increment = stream.incoming.give_back(size)
            if increment:
                self.sender.send_frame(frames.window_update(stream.number, increment))
                return True
        return updated

    def reject(self, stream: Stream, code: ErrorCode) -> None:
        """Reset a stream for what the client did. Raises `ConnectionFault` where that happens too often."""
        self.sender.reset(stream, code)
        self._floods.reset()
