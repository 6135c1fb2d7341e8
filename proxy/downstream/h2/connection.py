"""The client's side of HTTP/2: one connection, the events on it, the streams it carries.

The connection has no greenlet: its read watcher feeds the `h2` library, whose events go to the streams. A stream
runs the same exchange as HTTP/1 does: in the loop's callbacks, and in a greenlet of the front's once it has to wait.

    OPEN ──drain──► LEAVING ──a round trip──► REFUSING ──no stream is left──► ENDED ──all is sent──► LINGERING
      ├──broken rule, flood, no stream for too long──► ENDED
      ├──client's EOF──► LEFT ──all is sent──► closed
      └──reset, or nothing taken for too long──► closed

From ENDED and LEFT on every exchange is told that its client is gone; what it has sent before still goes out.
"""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError, TooManyStreamsError
from hpack.exceptions import HPACKError

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.downstream.h2.output import (
    ENDED,
    LEAVING,
    LEFT,
    LINGERING,
    OPEN,
    REFUSING,
    Output,
    bound_table,
)
from proxy.downstream.h2.reader import RequestReader
from proxy.downstream.h2.stream import ClientStream
from proxy.errors import ExchangeError
from proxy.net.event_loop import NEVER, Watcher
from proxy.net.sockets import RECEIVE_SIZE, Socket
from proxy.net.tls_socket import TlsSocket
from proxy.wire.h2_frames import LAST_STREAM, ConnectionFault
from proxy.wire.h2_head import (
    Malformed,
    check_request_trailers,
)

_GOAWAY_SIZE = 17
_LINGER_SECONDS = 30.0
_DRAIN_PING = b"draining"
_HEAD = (b":method", b"HEAD")
_HIGHEST_STREAM = LAST_STREAM - 2000
"""Stream numbers are used up some time: the client is asked for a new connection a little before."""

_ENDING = (ENDED, LINGERING, LEFT)

_MOST_STALLED = 8
"""Streams of one connection that may end because their client gave them no room, before it does if no other lives."""

log = logging.getLogger("gunicorn.error.proxy")


class Connection(Output):
    """One client's connection."""

    __slots__ = (
        "_early",
        "_fresh",
        "_idle_since",
        "_lingers_until",
        "_reader",
        "_stalled",
        "streams",
    )

    detached = False

    def __init__(
        self,
        sock: Socket | TlsSocket,
        front: Frontend,
        client: str,
        received: bytes = b"",
        watcher: Watcher | None = None,
    ) -> None:
        super().__init__(sock, front, client, watcher)
        self.streams: dict[int, ClientStream] = {}
        self._fresh: list[ClientStream] = []
        self._early = received  # what was received before this connection was made
        self._idle_since = monotonic()
        self._lingers_until = NEVER  # when a connection is closed that was ended, at the latest
        self._reader = RequestReader(front, client)
        self._stalled = 0
        front.connections.add(self)
        front.multiplexed.add(self)
        if front.draining:
            self.drain()
        self.settle()
        if received or self.buffered:
            self.hub.loop.run_callback(self.on_readable)

    @property
    def parked(self) -> bool:
        """Whether no request is in flight, and every answer has gone out."""
        return not (self.streams or self._unsent) and self.stage not in _ENDING

    # Receiving.

    def on_readable(self) -> None:
        self._read()
        # Plaintext may wait inside although the descriptor is not readable.
        while self.tls is not None and not self.closed and self.watched and self.buffered:
            self._read()

    def _read(self) -> None:
        data, self._early = self._early, b""
        try:
            data = data or self.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.lost()
            return
        if not data:
            self._leave()
        elif self.stage is LINGERING:
            self._linger()
        elif self.stage not in _ENDING:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        try:
            frames = self.guard.cut(data)
            if frames:
                for event in self.h2.receive_data(frames):
                    taken = _EVENTS.get(event.__class__)
                    if taken is not None:
                        taken(self, event)
        except ConnectionFault as fault:
            self.end(fault.code, fault.detail)
        except ProtocolError as error:
            self._end_by_library(error)
        except Exception:
            log.exception("an HTTP/2 connection failed inside the gateway")
            self.end(ErrorCodes.INTERNAL_ERROR, "")
        fresh, self._fresh = self._fresh, []
        for stream in fresh:
            if stream.id in self.streams:
                stream.begin_exchange()
        if not self.closed:
            self.schedule()

    def _end_by_library(self, error: ProtocolError) -> None:
        """The library has queued a GOAWAY of its own: ours knows what was acted upon, and the code of RFC 9113."""
        code = ErrorCodes.ENHANCE_YOUR_CALM if isinstance(error, TooManyStreamsError) else error.error_code
        if code is ErrorCodes.PROTOCOL_ERROR and isinstance(error.__cause__, HPACKError):
            code = ErrorCodes.COMPRESSION_ERROR
        queued = self.h2.data_to_send()
        self._unsent += queued[:-_GOAWAY_SIZE]
        self.end(code, str(error))

    # Events.

    def requested(self, event: events.RequestReceived) -> None:
        number = event.stream_id
        stage = self.stage
        if (stage is not OPEN and stage is not LEAVING) or self._is_full():
            self.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            self.guard.reset()
            return
        self.last_stream = number
        stream = ClientStream(self, number, ended=event.stream_ended is not None)
        stream.head_only = _HEAD in event.headers
        reader = self._reader
        try:
            if self.front.connection_limit.refused(self.sock.fileno()):
                raise ExchangeError(errors.CONNECTIONS)
            stream.request, stream.route = reader.read(event.headers, whole=stream.ended)
        except Malformed:
            self.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
            self.guard.reset()
            stream.request = reader.outline(event.headers)
            stream.refuse_unheard()
            return
        except ExchangeError as error:
            stream.request = reader.outline(event.headers)
            stream.refusal = error
        self.streams[number] = stream
        self.front.streams += 1
        self._fresh.append(stream)
        if number >= _HIGHEST_STREAM:
            self.drain()

    def _is_full(self) -> bool:
        """Whether one more stream is too many, for this connection or for the process."""
        settings = self.front.tables.settings
        return len(self.streams) >= settings.max_streams or self.front.streams >= settings.max_connections

    def _refuse_malformed(self, number: int, stream: ClientStream | None) -> None:
        """Reset a stream whose request is malformed (RFC 9113 section 8.1.1); the others go on."""
        self.front.context.counters.rejected("malformed")
        self.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
        if stream is not None:
            stream.gone(errors.MALFORMED_BODY)
        self.guard.reset()

    def came_data(self, event: events.DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            try:
                stream.take(event.data, event.flow_controlled_length, ended=event.stream_ended is not None)
            except Malformed:
                self._refuse_malformed(event.stream_id, stream)
        elif event.flow_controlled_length:
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def came_trailers(self, event: events.TrailersReceived) -> None:
        stream = self.streams.get(event.stream_id)
        try:
            check_request_trailers(event.headers)
            if event.stream_ended is None:
                raise Malformed("a second field section that does not end the stream")
            if stream is not None:
                stream.take(b"", 0, ended=True)
        except Malformed:
            self._refuse_malformed(event.stream_id, stream)

    def was_reset(self, event: events.StreamReset) -> None:
        if not event.remote_reset:
            self.guard.reset()
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.gone()

    def changed_settings(self, _event: events.RemoteSettingsChanged) -> None:
        bound_table(self.h2)

    def answered_ping(self, event: events.PingAckReceived) -> None:
        if event.ping_data == _DRAIN_PING and self.stage is LEAVING:
            self.stage = REFUSING
            self.say_goaway(self.last_stream, ErrorCodes.NO_ERROR)

    # Streams.

    def reset_stream(self, number: int, code: ErrorCodes) -> None:
        """Queue a RST_STREAM, unless the stream is over."""
        try:
            self.h2.reset_stream(number, code)
        except ProtocolError:
            return
        self.schedule()

    def reset_stalled(self, number: int) -> None:
        """Reset a stream whose client does not take its answer.

        Where that happens to too many, and nothing else lives, it is a fault of the connection.
        """
        self.reset_stream(number, ErrorCodes.CANCEL)
        self._stalled += 1
        others = (stream for stream in self.streams.values() if stream.id != number)
        if self._stalled > _MOST_STALLED and all(stream.starved for stream in others):
            self.hub.loop.run_callback(self.end, ErrorCodes.ENHANCE_YOUR_CALM, "too many stalled streams")

    def finished(self, stream: ClientStream) -> None:
        """An exchange, or a tunnel, is over."""
        if self.streams.pop(stream.id, None) is not None:
            self.front.streams -= 1
        if not self.streams:
            self._idle_since = monotonic()
            self._stalled = 0
            _ = self.h2.open_inbound_streams  # counting them, the library forgets those that are closed
        self.schedule()

    # The end.

    def settle(self) -> None:
        if self.closed:
            return
        settings = self.front.tables.settings
        if self._held_since is not NEVER:
            self.deadline = self._held_since + settings.write_timeout
        elif self.stage is LEFT:
            self.lost()
        elif self.stage is ENDED:
            self.stage = LINGERING
            self._lingers_until = monotonic() + _LINGER_SECONDS
            self._linger()
            self.finish_sending()
        elif self.stage is LINGERING:
            pass
        elif self.streams:
            self.deadline = NEVER
        elif self.guard.leaving or self.stage is REFUSING:
            self.end(ErrorCodes.NO_ERROR, "")
        else:
            timeout = settings.head_timeout if self.guard.unfinished else settings.first_request_timeout
            self.deadline = self._idle_since + timeout

    def expire(self) -> None:
        if self._unsent or self.stage in _ENDING:
            self.lost()
        elif self._held_since is not NEVER:
            self._end_waiting()
        elif not self.streams:
            self.end(ErrorCodes.NO_ERROR, "")

    def _end_waiting(self) -> None:
        """The client gives the connection no room: end what waits for it, and the connection if nothing else is left.

        What waits for the application costs no more than elsewhere; the client may make room before it is answered.
        """
        for waiting in list(self._waiting):
            self.reset_stream(waiting.id, ErrorCodes.CANCEL)
            stream = self.streams.get(waiting.id)
            if stream is not None:
                stream.gone(errors.CLIENT_STALLED)
        if not self.streams:
            self.end(ErrorCodes.ENHANCE_YOUR_CALM, "the window of the connection stays closed")

    def end(self, code: ErrorCodes, reason: str) -> None:
        """Say why, end what is under way, and close once that was sent."""
        if self.closed or self.stage in _ENDING:
            return
        self.stage = ENDED
        if code is not ErrorCodes.NO_ERROR:
            self.front.context.counters.rejected("http2_" + code.name.lower())
            if code is ErrorCodes.ENHANCE_YOUR_CALM:
                log.warning("HTTP/2 connection of %s ended: %s", self.client or "a local client", reason)
        self.say_goaway(self.last_stream, code, reason[:200])
        self._abandon()

    def _linger(self) -> None:
        """Let the client come to what it was sent: closing at once may reset, which takes it away."""
        quiet_until = monotonic() + self.front.tables.settings.linger_timeout
        self.deadline = min(self._lingers_until, quiet_until)

    def _leave(self) -> None:
        """The client sends nothing more."""
        if self.stage is LINGERING:
            self.lost()
            return
        self.unwatch_readable()
        self.stage = LEFT
        self._abandon()
        self.schedule()

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
        if self.closed or self.stage is not OPEN:
            return
        if any(stream.tunnelled for stream in self.streams.values()):
            self.stage = REFUSING
            return
        self.stage = LEAVING
        self.say_goaway(LAST_STREAM, ErrorCodes.NO_ERROR)
        self.h2.ping(_DRAIN_PING)  # the answer tells that the client has seen it

    def close(self) -> None:
        """Close a connection that carries nothing, with a GOAWAY if it can be sent at once."""
        if not self.closed and self.stage not in _ENDING:
            self.stage = ENDED
            self.say_goaway(self.last_stream, ErrorCodes.NO_ERROR)
            try:
                self.send(self._unsent)
            except OSError:
                pass
        self._drop()

    def _drop(self) -> None:
        if not self.closed:
            self.front.connections.discard(self)
            self.front.multiplexed.discard(self)
            self.front.ended(self.sock.fileno())
        super().close()


_EVENTS: dict[type[events.Event], Callable[[Connection, Any], None]] = {
    events.RequestReceived: Connection.requested,
    events.DataReceived: Connection.came_data,
    events.TrailersReceived: Connection.came_trailers,
    events.StreamReset: Connection.was_reset,
    events.RemoteSettingsChanged: Connection.changed_settings,
    events.PingAckReceived: Connection.answered_ping,
}
