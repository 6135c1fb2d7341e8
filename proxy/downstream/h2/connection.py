"""The client's side of HTTP/2: one connection, the events on it, the streams it carries.

The connection has no greenlet: its read watcher feeds the session, whose events go to the streams. A stream runs the
same exchange as HTTP/1 does: in the loop's callbacks, and in a greenlet of the frontend's once it has to wait.

    OPEN ──drain──► LEAVING ──a round trip──► REFUSING ──no stream is left──► ENDED ──all is sent──► LINGERING
      ├──broken rule, flood, no stream for too long──► ENDED
      ├──client's EOF──► LEFT ──all is sent──► closed
      └──reset, or nothing taken for too long──► closed

In ENDED and LEFT every exchange learns that its client is gone; what it has sent before still goes out.
"""

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.downstream.h2.output import Output
from proxy.downstream.h2.reader import RequestReader
from proxy.downstream.h2.states import CONNECTION_TRANSITIONS, ConnectionState
from proxy.downstream.h2.stream import TUNNEL, ClientStream
from proxy.errors import ExchangeError
from proxy.exchange.machine import Exchange
from proxy.log import log
from proxy.net.event_loop import NEVER, Watcher
from proxy.net.sockets import HEAD_RECEIVE_SIZE, RECEIVE_SIZE, Socket
from proxy.net.stream import Stream
from proxy.net.tls_socket import TlsSocket
from proxy.wire.h2 import frames
from proxy.wire.h2.events import (
    DataReceived,
    Event,
    PingAcknowledged,
    RequestReceived,
    StreamReset,
    TrailersReceived,
)
from proxy.wire.h2.faults import ConnectionFault, ErrorCode
from proxy.wire.h2.request import Malformed, check_request_trailers
from proxy.wire.h2.session import ServerSession

OPEN, LEAVING, REFUSING, ENDED, LINGERING, LEFT = ConnectionState  # found faster than an attribute of the enumeration

_LINGER_SECONDS: Final = 30.0
_DRAIN_PING: Final = b"draining"
_HIGHEST_STREAM: Final = frames.LAST_STREAM - 2000
"""Stream numbers are used up some time: the client is asked for a new connection a little before."""

_ENDING: Final = (ENDED, LINGERING, LEFT)

_MOST_STALLED: Final = 8
"""Streams of one connection that may end because their client gave them no room, before it does if no other lives."""


class Connection(Stream):
    """One client's connection."""

    __slots__ = (
        "_early",
        "_fresh",
        "_idle_since",
        "_last_stream",
        "_lingers_until",
        "_reader",
        "_receive_size",
        "_session",
        "_stalled",
        "client",
        "front",
        "output",
        "state",
        "streams",
    )

    detached = False

    def __init__(
        self,
        sock: Socket | TlsSocket,
        front: Frontend,
        client: str,
        watcher: Watcher | None = None,
        received: bytes = b"",
    ) -> None:
        context = front.context
        super().__init__(sock, context.hub, context.deadlines, watcher, swept=True)
        self.front = front
        self.client = client
        self.state = OPEN
        self.streams: dict[int, ClientStream] = {}
        self._session = ServerSession(front.tables.settings.max_streams, front.tables.head_limits.block, monotonic)
        self.output = Output(self, self._session, context.hub.loop)
        self._reader = RequestReader(front, client, front.requests_of(sock))
        self._fresh: list[ClientStream] = []
        self._early = received  # what was received before this connection was made
        self._last_stream = 0  # the latest that was acted upon
        self._idle_since = monotonic()
        self._lingers_until = NEVER  # when a connection is closed that was ended, at the latest
        self._stalled = 0
        self._receive_size = HEAD_RECEIVE_SIZE
        front.connections.add(self)
        front.multiplexed.add(self)
        if front.draining:
            self.drain()
        self.output.schedule()
        self.settle()
        if received or self.buffered:
            self.later(self._read_early)

    def _become(self, state: ConnectionState) -> None:
        assert state in CONNECTION_TRANSITIONS[self.state], (self.state, state)
        self.state = state

    @property
    def parked(self) -> bool:
        """Whether no request is in flight, and every response has gone out."""
        return not (self.streams or self.output.unsent) and self.state not in _ENDING

    def exchanges(self) -> Iterable[Exchange]:
        return [stream.exchange for stream in self.streams.values() if stream.exchange is not None]

    # Receiving.

    def on_readable(self) -> None:
        self._read()
        # Plaintext may wait inside although the descriptor is not readable.
        while self.tls is not None and not self.closed and self.watched and self.buffered:
            self._read()

    def _read_early(self) -> None:
        """Read what came before this connection was made, unless the client is found gone meanwhile."""
        if not self.closed:
            self.on_readable()

    def pause_reading(self) -> None:
        self.unwatch_readable()

    def resume_reading(self) -> None:
        if not self.watched and self.state is not LEFT:
            self.watch_readable(self.on_readable)

    def _read(self) -> None:
        data, self._early = self._early, b""
        try:
            data = data or self.sock.recv(self._receive_size)
        except BlockingIOError:
            return
        except OSError:
            self.lost()
            return
        # Asking for more than comes costs memory that is allocated for nothing; a body that comes fills it.
        self._receive_size = RECEIVE_SIZE if len(data) >= self._receive_size else HEAD_RECEIVE_SIZE
        if not data:
            self._leave()
        elif self.state is LINGERING:
            self._linger()
        elif self.state not in _ENDING:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        try:
            for event in self._session.receive(data):
                self._handle(event)
        except ConnectionFault as fault:
            self._end(fault.code, fault.detail)
        except Exception:
            log.exception("an HTTP/2 connection failed inside the gateway")
            self._end(ErrorCode.INTERNAL_ERROR, "")
        fresh, self._fresh = self._fresh, []
        for stream in fresh:
            if stream.wire.number in self.streams:
                stream.begin_exchange()
        if self.output.has_work or not self.streams:
            self.output.schedule()

    # Events.

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._open(event)
        elif isinstance(event, DataReceived):
            self._take_data(event)
        elif isinstance(event, StreamReset):
            stream = self.streams.get(event.stream.number)
            if stream is not None:
                stream.gone()
        elif isinstance(event, TrailersReceived):
            self._take_trailers(event)
        else:
            self._take_ping(event)

    def _open(self, event: RequestReceived) -> None:
        wire = event.stream
        front = self.front
        if self.state not in (OPEN, LEAVING) or front.streams >= front.tables.settings.max_connections:
            self._session.reject(wire, ErrorCode.REFUSED_STREAM)
            return
        self._last_stream = wire.number
        reader = self._reader
        try:
            if front.connection_limit.refusing and front.connection_limit.refused(self.sock.fileno()):
                raise ExchangeError(errors.CONNECTIONS)
            request, route = reader.read(event.section, whole=event.ended)
            stream = ClientStream(self, wire, request, route, whole=event.ended)
        except Malformed:
            self.output.reset(wire, ErrorCode.PROTOCOL_ERROR)
            ClientStream(self, wire, reader.outline(event.section), None, whole=event.ended).refuse_malformed()
            self._session.reject(wire, ErrorCode.PROTOCOL_ERROR)
            return
        except ExchangeError as error:
            request = reader.outline(event.section)
            stream = ClientStream(self, wire, request, None, whole=event.ended, refusal=error.with_traceback(None))
        self.streams[wire.number] = stream
        front.streams += 1
        self._fresh.append(stream)
        if wire.number >= _HIGHEST_STREAM:
            self.drain()

    def _take_data(self, event: DataReceived) -> None:
        stream = self.streams.get(event.stream.number)
        if stream is None:
            self._session.give_back(event.stream, event.size)
            return
        try:
            stream.take(event)
        except Malformed:
            self._refuse_malformed(stream)

    def _take_trailers(self, event: TrailersReceived) -> None:
        stream = self.streams.get(event.stream.number)
        if stream is None:
            return
        try:
            check_request_trailers(event.section)
            if not event.ended:
                raise Malformed("a second field section that does not end the stream")
            stream.end_body()
        except Malformed:
            self._refuse_malformed(stream)

    def _refuse_malformed(self, stream: ClientStream) -> None:
        """Reset a stream whose request is malformed (RFC 9113 section 8.1.1); the others go on."""
        self.front.context.counters.rejected("malformed")
        self.output.reset(stream.wire, ErrorCode.PROTOCOL_ERROR)
        stream.gone(errors.MALFORMED_BODY)
        self._session.reject(stream.wire, ErrorCode.PROTOCOL_ERROR)

    def _take_ping(self, event: PingAcknowledged) -> None:
        if event.opaque == _DRAIN_PING and self.state is LEAVING:
            self._become(REFUSING)
            self.output.goaway(self._last_stream, ErrorCode.NO_ERROR)

    # Streams.

    def pause(self, deadline: float) -> None:
        self.deadlines.pause(self.hub, deadline)

    def later(self, callback: Callable[[], object]) -> None:
        self.hub.loop.run_callback(callback)

    def stalled(self, stream: ClientStream) -> None:
        """Reset a stream whose client does not take its response.

        Where that happens to too many, and nothing else lives, it is a fault of the connection.
        """
        self.output.reset(stream.wire, ErrorCode.CANCEL)
        self._stalled += 1
        others = (other for other in self.streams.values() if other is not stream)
        if self._stalled > _MOST_STALLED and all(other.wire.starved for other in others):
            self.hub.loop.run_callback(self._end, ErrorCode.ENHANCE_YOUR_CALM, "too many stalled streams")

    def finished(self, stream: ClientStream) -> None:
        """An exchange, or a tunnel, is over."""
        if self.streams.pop(stream.wire.number, None) is not None:
            self.front.streams -= 1
        if not self.streams:
            self._idle_since = monotonic()
            self._stalled = 0
            self.output.schedule()

    # The end.

    def settle(self) -> None:
        if self.closed:
            return
        settings = self.front.tables.settings
        output = self.output
        output.measure(settings)
        if output.held_since != NEVER:
            self.deadline = output.held_since + settings.write_timeout
        elif self.state is LEFT:
            self.lost()
        elif self.state is ENDED:
            self._become(LINGERING)
            self._lingers_until = monotonic() + _LINGER_SECONDS
            self._linger()
            self.finish_sending()
        elif self.state is LINGERING:
            pass
        elif self.streams:
            self.deadline = NEVER
        elif self._session.leaving or self.state is REFUSING:
            self._end(ErrorCode.NO_ERROR, "")
        else:
            timeout = settings.head_timeout if self._session.unfinished else settings.first_request_timeout
            self.deadline = self._idle_since + timeout

    def expire(self) -> None:
        if self.output.unsent or self.state in _ENDING:
            self.lost()
        elif self.output.held_since != NEVER:
            self._end_waiting()
        elif not self.streams:
            self._end(ErrorCode.NO_ERROR, "")

    def _end_waiting(self) -> None:
        """The client gives the connection no room: end what waits for it, and the connection if nothing else is left.

        What waits for the application costs no more than elsewhere; the client may make room before it is answered.
        """
        for waiting in self.output.waiting():
            self.output.reset(waiting.wire, ErrorCode.CANCEL)
            stream = self.streams.get(waiting.wire.number)
            if stream is not None:
                stream.gone(errors.CLIENT_STALLED)
        if not self.streams:
            self._end(ErrorCode.ENHANCE_YOUR_CALM, "the window of the connection stays closed")

    def _end(self, code: ErrorCode, reason: str) -> None:
        """Say why, end what is under way, and close once that was sent."""
        if self.closed or self.state in _ENDING:
            return
        self._become(ENDED)
        if code is not ErrorCode.NO_ERROR:
            self.front.context.counters.rejected("http2_" + code.name.lower())
            if code is ErrorCode.ENHANCE_YOUR_CALM:
                log.warning("HTTP/2 connection of %s ended: %s", self.client or "a local client", reason)
        self.output.goaway(self._last_stream, code, reason[:200])
        self._abandon()

    def _linger(self) -> None:
        """Let the client come to what it was sent: closing at once may reset, which takes it away."""
        quiet_until = monotonic() + self.front.tables.settings.linger_timeout
        self.deadline = min(self._lingers_until, quiet_until)

    def _leave(self) -> None:
        """The client sends nothing more."""
        if self.state is LINGERING:
            self.lost()
            return
        if self.state is LEFT:  # seen before: a callback that was due then has come
            return
        self.unwatch_readable()
        self._become(LEFT)
        self._abandon()
        self.output.schedule()

    def _abandon(self) -> None:
        for stream in list(self.streams.values()):
            stream.gone()

    def lost(self) -> None:
        if not self.closed:
            self._drop()
            self._abandon()

    def drain(self) -> None:
        """Let no new streams in: say so first, and only then count which were acted upon (RFC 9113 section 6.8).

        A client that has WebSockets here is not told: some end them at once. Its new streams are refused.
        """
        if self.closed or self.state is not OPEN:
            return
        if any(stream.state is TUNNEL for stream in self.streams.values()):
            self._become(REFUSING)
            return
        self._become(LEAVING)
        self.output.goaway(frames.LAST_STREAM, ErrorCode.NO_ERROR)
        self._session.sender.send_frame(
            frames.ping(_DRAIN_PING, ack=False)
        )  # its answer says that the client has seen it

    def close(self) -> None:
        """Close a connection that carries nothing, with a GOAWAY if it can be sent at once."""
        if not self.closed and self.state not in _ENDING:
            self._become(ENDED)
            self.output.goaway(self._last_stream, ErrorCode.NO_ERROR)
            self.output.send_last()
        self._drop()

    def _drop(self) -> None:
        if not self.closed:
            self.front.connections.discard(self)
            self.front.multiplexed.discard(self)
            self.front.ended(self.sock.fileno())
            self.output.release()
        super().close()
