"""One HTTP/2 connection to a peer, and the channels that share it.

No greenlet: its read watcher feeds the session, whose events go to the channels; what they send is collected and leaves
when the loop's round is over. A connection without channels is closed after `idle_limit` seconds. After a request that
was given up, of which the peer may know nothing, a PING asks whether the connection still lives: one until the next
response, because gRPC servers end connections on which more come (gRPC proposal A8).

    connecting ──SETTINGS──► ready ──GOAWAY, or the numbers are used up──► leaving ──no channel is left──► closed
      └──────────────────────── broken rule, EOF, reset, no answer to PING ─────────────────────────────────┘
"""

from time import monotonic
from typing import Final

from gevent.event import Event

from proxy.errors import DeadlinePassed
from proxy.log import log
from proxy.net.event_loop import NEVER, Deadlines, Hub, Watcher
from proxy.net.sockets import RECEIVE_SIZE, SocketLike
from proxy.net.stream import Stream
from proxy.upstream.faults import StreamFault
from proxy.upstream.h2.channel import Channel
from proxy.wire.h2 import frames
from proxy.wire.h2.bridge import MalformedResponse
from proxy.wire.h2.client_session import ClientSession
from proxy.wire.h2.events import DataReceived, GoingAway, ResponseReceived, ServerEvent
from proxy.wire.h2.faults import ConnectionFault, ErrorCode
from proxy.wire.h2.streams import Stream as WireStream

_PATIENCE: Final = 10.0
"""Seconds that a peer has to answer a PING."""

_LONGEST_SILENCE: Final = 60.0
"""Seconds without a byte after which a connection on which no PING may be sent gets no more requests."""

_MOST_HEAD: Final = 65536
_PING: Final = frames.ping(b"alive?  ", ack=False)


class MultiplexedConnection:
    """A connection over `sock`, on which nothing was sent yet. `scheme` is that of its requests, `idle_limit` the
    seconds that it is kept without any."""

    def __init__(
        self,
        sock: SocketLike,
        hub: Hub,
        deadlines: Deadlines,
        watcher: Watcher,
        peer: str,
        scheme: bytes,
        idle_limit: float,
    ) -> None:
        self._stream: Final = Stream(sock, hub, deadlines, watcher, swept=True)
        self._hub: Final = hub
        self._deadlines: Final = deadlines
        self.deadline = NEVER
        deadlines.streams.add(self)
        self.session: Final = ClientSession(_MOST_HEAD, monotonic)
        self.scheme: Final = scheme
        self._peer = peer
        self._idle_limit: Final = idle_limit
        self._heard = monotonic()
        self._may_ping = True
        self._channels: set[Channel] = set()
        self._streams: dict[int, Channel] = {}
        self._unsent = b""
        self._scheduled = False
        self._settled = Event()
        self._reason = ""
        self._stream.watch_readable(self._read)
        self.schedule()

    @property
    def closed(self) -> bool:
        return self._stream.closed

    # What channels ask.

    @property
    def usable(self) -> bool:
        return not (self.closed or self.session.leaving)

    @property
    def has_room(self) -> bool:
        """Whether another channel may share it."""
        return self.usable and self.session.ready and len(self._channels) < self.session.max_streams

    def await_ready(self, deadline: float) -> None:
        """Return when the peer has shown that it speaks HTTP/2. Raises `DeadlinePassed` or `OSError`."""
        if not self._settled.wait(max(0.0, deadline - monotonic())):
            self.lost("no SETTINGS")
            raise DeadlinePassed
        if self.closed:
            raise ConnectionResetError(104, self._reason)

    def channel(self) -> Channel:
        """Another channel. Only while it `has_room`."""
        channel = Channel(self, self._hub)
        self._channels.add(channel)
        self.deadline = NEVER
        return channel

    def opened(self, channel: Channel, wire: WireStream) -> None:
        self._streams[wire.number] = channel

    def room(self, wire: WireStream) -> int:
        return 0 if self._unsent else self.session.sender.room(wire)

    def released(self, channel: Channel, *, unfinished: bool) -> None:
        self._channels.discard(channel)
        if self.closed:
            return
        if not self._channels:
            self.deadline = self._heard + self._idle_limit
        if unfinished:
            self._doubt()
        if not self._channels and self.session.leaving:
            self.close()

    def _doubt(self) -> None:
        """A request had no response in time, or its client did not wait for it: find out whether the peer is there."""
        now = monotonic()
        if self._may_ping:
            self._may_ping = False
            self.session.sender.send_frame(_PING)
            self.deadline = min(self.deadline, now + _PATIENCE)
            self.schedule()
        elif now - self._heard > _LONGEST_SILENCE:
            self.retire()

    def name(self, *, own: bool) -> object:
        return self._stream.sock.getsockname() if own else self._stream.sock.getpeername()

    # Receiving.

    def _read(self) -> None:
        try:
            data = self._stream.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(error.strerror or "")
            return
        if not data:
            self.lost("closed")
            return
        self._heard = monotonic()
        self.deadline = NEVER if self._channels else self._heard + self._idle_limit
        first = not self.session.ready
        try:
            for event in self.session.receive(data):
                self._handle(event)
        except ConnectionFault as fault:
            if first and data.startswith(b"HTTP/"):
                self.lost("it answers in HTTP/1; write its address with http:// or https://")
                return
            self.session.sender.send_frame(frames.goaway(0, fault.code, fault.detail[:200]))
            self._send()
            self.lost(f"broke a rule of HTTP/2: {fault.detail}")
            return
        if first and self.session.ready:
            self._settled.set()
        for channel in list(self._streams.values()):
            channel.flush()
        self.schedule()

    def _handle(self, event: ServerEvent) -> None:
        if isinstance(event, GoingAway):
            self._leave(event)
            return
        number = event.stream.number
        channel = self._streams.get(number)
        if isinstance(event, (ResponseReceived, DataReceived)):
            self._may_ping = True
            if channel is None or channel.failed:  # what follows a fault would pass for what was lost with it
                if isinstance(event, DataReceived):
                    self.session.give_back(event.stream, event.size)
                return
            try:
                if isinstance(event, ResponseReceived):
                    channel.take_section(event.section, ended=event.ended)
                else:
                    channel.take_data(event.data, event.size, ended=event.ended)
            except MalformedResponse as error:
                channel.malformed(error)
            return
        if channel is not None:
            refused = event.code == ErrorCode.REFUSED_STREAM
            channel.fail(StreamFault(f"the stream was reset ({_code(event.code)})", unprocessed=refused))

    def _leave(self, event: GoingAway) -> None:
        """Streams that the peer has acted upon go on; the others may be repeated (RFC 9113 section 6.8)."""
        if event.code != ErrorCode.NO_ERROR:
            log.info("upstream %s sent GOAWAY %s: %r", self._peer, _code(event.code), event.reason[:200])
        for number, channel in list(self._streams.items()):
            if number > event.last_stream and channel.under_way:
                channel.fail(StreamFault("GOAWAY", unprocessed=True))
        for channel in list(self._channels):
            channel.end()
        if not self._channels:
            self.close()

    # Sending.

    def schedule(self) -> None:
        if not self._scheduled and not self.closed:
            self._scheduled = True
            self._hub.loop.run_callback(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self.closed:
            return
        waited = bool(self._unsent)
        self._send()
        self._forget_closed()
        if waited and not self._unsent:
            for channel in list(self._streams.values()):
                channel.flush()

    def _send(self) -> None:
        data = self._unsent + self.session.sender.take()
        sent = 0
        try:
            while sent < len(data) and (taken := self._stream.send(memoryview(data)[sent:])):
                sent += taken
        except OSError as error:
            self.lost(error.strerror or "")
            return
        self._unsent = data[sent:]
        if self._unsent:
            self._stream.watch_writable(self._flush)
        else:
            self._stream.unwatch_writable()

    def _forget_closed(self) -> None:
        for number in [number for number, channel in self._streams.items() if not channel.carries(number)]:
            del self._streams[number]

    # Ending.

    def retire(self) -> None:
        """Take no more requests, and close when those under way have ended."""
        self.session.leaving = True
        for channel in list(self._channels):
            channel.end()
        if not self._channels:
            self.close()

    def expire(self) -> None:
        if self._channels:
            self.lost("does not answer")
        else:
            self.close()

    def close(self) -> None:
        """Close a connection that carries nothing any more."""
        if not self.closed:
            self.session.sender.send_frame(frames.goaway(0, ErrorCode.NO_ERROR, ""))
            self._send()
            self.lost("closed")

    def lost(self, reason: str) -> None:
        """The connection is gone, and every request that is on its way with it."""
        if self.closed:
            return
        self._reason = reason
        self._deadlines.streams.discard(self)
        self._stream.close()
        self._settled.set()
        for channel in list(self._channels):
            if channel.under_way:
                channel.fail(StreamFault(f"the connection was lost: {reason}"))
            channel.end()


def _code(code: int) -> str:
    return ErrorCode(code).name if code in ErrorCode.__members__.values() else f"0x{code:x}"
