"""One of the many that share an HTTP/2 connection: it looks like a socket on which HTTP/1 is spoken.

    idle ──a request's head──► a stream is open ──the response's last byte, and the request's──► idle ...
                                  └──reset by either side, connection lost──► every further call fails

What is written are requests of HTTP/1, which become frames; what is read are the responses' frames as HTTP/1. At most
`_MOST_UNSENT` bytes of a request wait for room in the windows; of a response so much waits as its window allows.
"""

import errno
import socket
from collections import deque
from typing import Final, Protocol

from proxy import errors
from proxy.errors import FramingError
from proxy.net.event_loop import READ, WRITE, Hub
from proxy.upstream.faults import StreamFault
from proxy.upstream.h2.watching import ChannelHub, Readiness
from proxy.wire.body import Decoder
from proxy.wire.h2.bridge import MalformedResponse, RequestParts, ResponseText
from proxy.wire.h2.client_session import ClientSession
from proxy.wire.h2.faults import ErrorCode
from proxy.wire.h2.frames import MAX_FRAME_SIZE
from proxy.wire.h2.streams import CLOSED
from proxy.wire.h2.streams import Stream as WireStream
from proxy.wire.h2.tables import Section
from proxy.wire.head import END

_MOST_UNSENT: Final = 1 << 16
_NO_CONNECT: Final = (
    "the application takes no WebSockets over HTTP/2 (RFC 8441); give their path a route with http:// or https://"
)
_NO_BODY: Final = (
    "HTTP/2 to the application has upgrades of GET without a body alone; give its path a route with http:// or https://"
)
_COALESCED: Final = 1024
"""Bytes below which a piece that waits to be read is joined with the next: frames of a byte each would take a hundred
times what the window allows for."""


class Carrier(Protocol):
    """The connection, as a channel sees it."""

    @property
    def session(self) -> ClientSession: ...

    @property
    def scheme(self) -> bytes:
        """That of the requests."""

    @property
    def usable(self) -> bool:
        """Whether it takes another stream."""

    def opened(self, channel: "Channel", wire: WireStream) -> None:
        """A stream was opened."""

    def room(self, wire: WireStream) -> int:
        """Bytes of a body that it takes on a stream at the moment."""

    def schedule(self) -> None:
        """Send what was added to the session's output when the loop's round is over."""

    def released(self, channel: "Channel", *, unfinished: bool) -> None:
        """The channel was closed; `unfinished`: its response had not come to its end."""

    def name(self, *, own: bool) -> object:
        """The name of our end of the connection, or of the peer's."""


class Channel:
    """See the module's text."""

    def __init__(self, carrier: Carrier, hub: Hub) -> None:
        self._carrier = carrier
        self._wire: WireStream | None = None
        self._response: ResponseText | None = None
        self._head = b""
        self._body: Decoder | None = None
        self._unsent = b""
        self._ends = False  # nothing of the request follows what is unsent
        self._inbox: deque[tuple[bytes, int]] = deque()  # text, and what it took of the windows
        self._fault: StreamFault | None = None
        self._ended = False  # the connection takes no more requests
        self.reader: Final = Readiness(hub.loop, READ, lambda: self.readable)
        self.writer: Final = Readiness(hub.loop, WRITE, lambda: not self._unsent)
        self.hub: Final = ChannelHub(hub, self.reader, self.writer)

    @property
    def readable(self) -> bool:
        return bool(self._inbox) or self._fault is not None or self._at_end

    @property
    def _at_end(self) -> bool:
        """Whether nothing more will come, as a socket says it: behind a response that is only where none may follow."""
        if self._response is not None and self._response.switched:
            return self._wire is not None and not self._wire.readable
        return self._ended and not self.under_way

    @property
    def under_way(self) -> bool:
        """Whether it has a stream that is not closed."""
        return self._wire is not None and self._wire.state is not CLOSED

    @property
    def failed(self) -> bool:
        """Whether its stream, or its connection, ended before its end."""
        return self._fault is not None

    def carries(self, number: int) -> bool:
        """Whether that stream is its own, and not closed."""
        return self._wire is not None and self._wire.number == number and self.under_way

    # As a socket: sending.

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:  # noqa: ARG002 - as a socket's
        if self._fault is not None:
            raise self._fault.again()
        if self._unsent:
            raise BlockingIOError(errno.EAGAIN, "the stream's window is full")
        data = bytes(data)
        begun = 0
        if self._body is None:
            self._head += data
            head, end, rest = self._head.partition(END)
            if not end:
                return len(data)
            self._head = b""
            self._begin(RequestParts(head, self._carrier.scheme))
            begun, data = len(data) - len(rest), rest
        taken = data[:_MOST_UNSENT]
        body = self._body
        if body is not None and taken:
            try:
                self._unsent = body.feed(taken)
            except FramingError as error:
                raise StreamFault(str(error), failure=errors.INTERNAL) from None
            if body.done:
                self._body = None
                self._ends = True
            self.flush()
        return begun + len(taken)

    def _begin(self, parts: RequestParts) -> None:
        carrier = self._carrier
        if parts.switch and not (parts.connects and carrier.session.connects):
            why = _NO_CONNECT if parts.connects else _NO_BODY
            raise self._failed(StreamFault(why, failure=errors.BAD_UPGRADE))
        if self._ended or not carrier.usable:
            raise self._failed(StreamFault("the connection takes no more requests", unprocessed=True))
        self._drop_stream()
        session = carrier.session
        self._wire = wire = session.open()
        self._response = ResponseText(head_only=parts.head_only, switch=parts.switch)
        self._body = parts.body
        self._ends = False
        session.sender.send_section(wire, parts.section, ends=parts.body is None)
        carrier.opened(self, wire)
        carrier.schedule()

    def flush(self) -> None:
        """Send what the windows have room for."""
        wire, carrier = self._wire, self._carrier
        if wire is None or not wire.writable:
            self._unsent = b""
            self.writer.notice()
            return
        sender = carrier.session.sender
        unsent = self._unsent
        while unsent and (room := min(carrier.room(wire), MAX_FRAME_SIZE)) > 0:
            piece, unsent = unsent[:room], unsent[room:]
            sender.send_data(wire, piece, ends=self._ends and not unsent)
        if self._ends and not unsent and wire.writable:
            sender.end(wire)
        self._unsent = unsent
        carrier.schedule()
        if not unsent:
            self.writer.notice()

    # As a socket: receiving.

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self._inbox:
            if self._fault is not None:
                raise self._fault.again()
            if self._at_end:
                return b""
            raise BlockingIOError(errno.EAGAIN, "nothing has come")
        text, taken = self._inbox[0]
        if flags & socket.MSG_PEEK:
            return text[:size]
        pieces = []
        while True:
            if len(text) > size:
                pieces.append(text[:size])
                self._inbox[0] = text[size:], taken
                break
            pieces.append(text)
            size -= len(text)
            self._inbox.popleft()
            self._give_back(taken)
            if not self._inbox or not size:
                break
            text, taken = self._inbox[0]
        return b"".join(pieces)

    def recv_into(self, buffer: memoryview, size: int = 0) -> int:
        data = self.recv(size or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _give_back(self, taken: int) -> None:
        if taken and self._wire is not None:
            self._carrier.session.give_back(self._wire, taken)
            self._carrier.schedule()

    # What comes.

    def take_section(self, section: Section, *, ended: bool) -> None:
        """Raises `MalformedResponse`."""
        response = self._response
        assert response is not None
        self._arrived(response.section(section, ended=ended), 0)
        if response.declined:
            self._end_request()

    def take_data(self, data: bytes, size: int, *, ended: bool) -> None:
        """Raises `MalformedResponse`."""
        assert self._response is not None
        self._arrived(self._response.data(data, ended=ended), size)
        if ended:
            self.reader.notice()

    def _arrived(self, text: bytes, size: int) -> None:
        inbox = self._inbox
        if not text:
            self._give_back(size)
            return
        if inbox and len(inbox[-1][0]) < _COALESCED:
            last, taken = inbox.pop()
            text, size = last + text, taken + size
        inbox.append((text, size))
        self.reader.notice()

    def fail(self, fault: StreamFault) -> None:
        """The stream ended before its end: what has come can still be read."""
        self._failed(fault)

    def _failed(self, fault: StreamFault) -> StreamFault:
        self._fault = fault
        self._unsent = b""
        self.reader.notice()
        self.writer.notice()
        return fault.again()

    def end(self) -> None:
        """The connection takes no more requests; the one under way goes on."""
        self._ended = True
        self.reader.notice()

    def malformed(self, error: MalformedResponse) -> None:
        """The response broke a rule of HTTP/2: its stream alone ends."""
        self._drop_stream(ErrorCode.PROTOCOL_ERROR)
        self.fail(StreamFault(f"malformed HTTP/2: {error}", failure=errors.BAD_RESPONSE))

    # Ending.

    def _drop_stream(self, code: ErrorCode = ErrorCode.CANCEL) -> None:
        wire = self._wire
        if wire is not None and self.under_way:
            self._carrier.session.sender.reset(wire, code)
            self._carrier.schedule()
        while self._inbox:
            self._give_back(self._inbox.popleft()[1])

    def close(self) -> None:
        unfinished = self._wire is not None and self._wire.readable
        self._drop_stream()
        self._carrier.released(self, unfinished=unfinished)
        self.reader.close()
        self.writer.close()

    def shutdown(self, how: int) -> None:  # noqa: ARG002 - as a socket's; sending alone
        """End what was sent behind an upgrade; requests end by their framing."""
        if self._response is not None and self._response.switched:
            self._end_request()

    def _end_request(self) -> None:
        self._body = None
        self._ends = True
        self.flush()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Nothing to do: the socket is that of others too."""

    def fileno(self) -> int:
        return -1

    def getsockname(self) -> object:
        return self._carrier.name(own=True)

    def getpeername(self) -> object:
        return self._carrier.name(own=False)
