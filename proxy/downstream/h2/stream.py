"""One HTTP/2 stream as its exchange sees it: where the request's body comes from, where the response goes.

EXCHANGE ──101──► TUNNEL ──its end──► CLOSED
  ├──answered──► CLOSED
  ├──answered before the request's end──► LINGERING ──its end, or too late──► CLOSED
  └──in all of them: reset, or the connection is gone──► GONE ──its exchange or tunnel has ended──► CLOSED
"""

from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from greenlet import getcurrent, greenlet

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.downstream.h2.body import IncomingBody
from proxy.downstream.h2.output import Output
from proxy.downstream.h2.sink import StreamSink
from proxy.downstream.h2.states import STREAM_TRANSITIONS, StreamState
from proxy.downstream.h2.tunnel import StreamSide
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError, Failure, blaming
from proxy.exchange.machine import Exchange
from proxy.exchange.request import Request
from proxy.exchange.route import Route
from proxy.exchange.tunnel_side import Side
from proxy.log import log
from proxy.net.event_loop import NEVER
from proxy.net.sockets import SocketLike
from proxy.net.stream import Sink
from proxy.settings import Settings
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.fields import BODILESS
from proxy.wire.h2.events import DataReceived
from proxy.wire.h2.faults import ErrorCode
from proxy.wire.h2.response import response_section, section_of, upgrade_section
from proxy.wire.h2.sending import StreamClosed
from proxy.wire.h2.streams import CLOSED as WIRE_CLOSED
from proxy.wire.h2.streams import Stream as WireStream
from proxy.wire.h2.tables import Section
from proxy.wire.head import CRLF
from proxy.wire.response import ResponseHead

_LINGER_SECONDS: Final = 30.0

EXCHANGE, TUNNEL, LINGERING, GONE, CLOSED = StreamState  # found faster than an attribute of the enumeration


class Host(Protocol):
    """The connection that carries a stream among others."""

    front: Frontend
    output: Output
    sock: SocketLike

    def pause(self, deadline: float) -> None:
        """Leave the greenlet until something switches to it. Raises `DeadlinePassed`."""

    def later(self, callback: Callable[[], object]) -> None:
        """Call back in the loop's next round."""

    def stalled(self, stream: "ClientStream") -> None:
        """The client does not take the response: the stream is to be reset."""

    def finished(self, stream: "ClientStream") -> None:
        """The stream is over, and has nothing to do with the connection any more."""


class ClientStream:
    """A request and its response on a connection that others share: a `Downstream`."""

    __slots__ = (
        "_lingers_until",
        "_owner",
        "_refusal",
        "_route",
        "_side",
        "_sink",
        "begun",
        "body",
        "deadline",
        "exchange",
        "host",
        "output",
        "request",
        "sent",
        "state",
        "wire",
    )

    private = None

    def __init__(
        self,
        host: Host,
        wire: WireStream,
        request: Request,
        route: Route | None,
        *,
        whole: bool,
        refusal: ExchangeError | None = None,
    ) -> None:
        """`whole`: no body follows the head. `refusal`: why the request goes no further than its head, if it does not.

        What else came with the head is known to `wire` already, and told afterwards.
        """
        self.host = host
        self.output = host.output
        self.wire = wire
        self.state = EXCHANGE
        self.request = request
        self._route = route
        self._refusal = refusal
        self.body: IncomingBody | None = None
        """None where the request has ended with its head."""
        if not whole or request.upgrade:
            self.body = IncomingBody(request, wire, host.output, host.pause)
        self._owner: greenlet | None = None
        self.exchange: Exchange | None = None
        """The one under way."""
        self._side: StreamSide | None = None
        """The client's side of the tunnel, if this is one."""
        self.sent = 0
        self.begun = False
        self._lingers_until = 0.0  # in LINGERING: when the request is cut off at the latest
        self.deadline = NEVER
        self._sink: StreamSink | None = None

    def __repr__(self) -> str:
        return f"<{self.wire.number} {self.state.name}, {self.wire.state.name}>"

    def _become(self, state: StreamState) -> None:
        assert state in STREAM_TRANSITIONS[self.state], (self, state)
        self.state = state

    # Serving.

    def begin_exchange(self) -> None:
        """Answer the request in the event loop's callbacks, as far as nothing has to wait."""
        front = self.host.front
        if self._refusal is not None or not front.inline:
            front.resume(self)
            return
        self.exchange = Exchange(self._route, front.context, self, self.request)
        self.exchange.drive_inline()

    def resume_exchange(self) -> None:
        self.host.front.resume(self)

    def exchange_ended(self) -> None:
        self.exchange = None
        self.finish()

    def serve(self) -> None:
        """Answer the request. Raises nothing."""
        self._owner = getcurrent()
        front = self.host.front
        try:
            if self.exchange is not None:
                self.exchange.drive_blocking()
            elif self._refusal is not None:
                Exchange(None, front.context, self, self.request).refuse(self._refusal)
            else:
                self.exchange = Exchange(self._route, front.context, self, self.request)
                self.exchange.drive_blocking()
        except (ClientGone, DeadlinePassed, OSError):
            pass
        except Exception:
            log.exception("a request failed inside the gateway")
        self._owner = self.exchange = None
        if self._side is None:
            self.finish()

    def refuse_malformed(self) -> None:
        """Log a malformed request after its stream was reset: no response can be sent."""
        self._become(GONE)
        self.begun = True
        Exchange(None, self.host.front.context, self, self.request).refuse(ExchangeError(errors.MALFORMED))

    def keep_private(self, connection: UpstreamConnection) -> None:
        # Streams run side by side, each with an upstream connection of its own: none of them is the client's.
        connection.pool.discard(connection)

    def take_private(self) -> None:
        return None

    # The end.

    def finish(self) -> None:
        """Nothing more is sent: end what is not complete, forget the rest."""
        if self.wire.state is not WIRE_CLOSED:
            if self.wire.writable:
                self.output.reset(self.wire, ErrorCode.CANCEL if self.state is TUNNEL else ErrorCode.INTERNAL_ERROR)
            elif self.state is EXCHANGE:
                self._linger()
                return
            else:
                self.output.reset(self.wire, ErrorCode.NO_ERROR)
        if self._lingers_until:
            self.host.front.context.deadlines.streams.discard(self)
        self._become(CLOSED)
        if self.body is not None:
            self.body.discard()
        self.host.finished(self)

    def _linger(self) -> None:
        """Let the client go on for a moment with a request that was answered before its end.

        RFC 9113 section 8.1 has the gateway ask it to stop, by RST_STREAM with NO_ERROR, but clients that are busy
        sending take that for a failure and do not look at the response.
        """
        assert self.body is not None
        self._become(LINGERING)
        self._lingers_until = monotonic() + _LINGER_SECONDS
        self.host.front.context.deadlines.streams.add(self)
        self.body.discard()
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        timeout = self.host.front.tables.settings.linger_timeout
        self.deadline = min(self._lingers_until, monotonic() + timeout)

    def expire(self) -> None:
        self.finish()

    def gone(self, failure: Failure = errors.CLIENT_CLOSED) -> None:
        """The stream was reset, or the client is gone: the exchange learns why."""
        if self.state is not GONE:
            self._become(GONE)
        self.output.sender.abandon(self.wire)
        if self.body is not None:
            self.body.lose(failure)
        if self._owner is not None:
            self._owner.throw(ClientGone(failure))
        elif self._side is not None:
            self._side.fail()
        else:
            if self.exchange is not None:
                exchange, self.exchange = self.exchange, None
                exchange.abandon(failure)
            self.finish()

    # The request's body.

    def take(self, event: DataReceived) -> None:
        """A piece of the body has come. Raises `Malformed`."""
        self._take(event.data, event.size, ended=event.ended)

    def end_body(self) -> None:
        """The body has ended, before trailers. Raises `Malformed`."""
        self._take(b"", 0, ended=True)

    def _take(self, data: bytes, size: int, *, ended: bool) -> None:
        body = self.body
        assert body is not None
        body.arrived(data, size, ended=ended)
        if self._side is not None:
            self._side.readable()
        elif self.state is LINGERING:
            body.discard()
            if ended:
                self.finish()
            else:
                self._wait_for_end()

    def take_body(self, request: Request, settings: Settings) -> bool:
        fields = request.fields
        if self.body is None:
            request.length = fields.content_length
            return True
        if not fields.chunked and fields.content_length is None:
            return True
        if not self.body.is_here(settings):
            return False
        self.read_body(request, settings)
        return True

    def read_body(self, _request: Request, settings: Settings) -> None:
        if self.body is not None:
            self.body.read(settings)

    # The response.

    @property
    def sink(self) -> Sink:
        if self._sink is None:
            self._sink = StreamSink(self.wire, self.output, self.host.pause, None)
        return self._sink

    def _send_section(self, section: Section, *, last: bool) -> None:
        try:
            self.output.sender.send_section(self.wire, section, ends=last)
        except StreamClosed as error:
            raise ClientGone from error
        self.output.schedule()

    def names(self) -> tuple[object, object]:
        sock = self.host.sock
        with blaming(errors.CLIENT_CLOSED):
            return sock.getpeername(), sock.getsockname()

    def inform(self, response: ResponseHead) -> None:
        self._send_section(response_section(response, None, None), last=False)

    def begin(self, response: ResponseHead, length: int | None, body: bytes, *, stream: bool) -> bytes:
        self.begun = True
        request = self.request
        date = None if response.dated else self.host.front.clock.date()
        section = response_section(response, length, date)
        if stream and response.trailer is not None and request.fields.te_trailers:
            section = (*section, (b"trailer", response.trailer))
        if request.response_fields:
            section = (*section, *section_of(request.response_fields.split(CRLF)[:-1]))
        bare = not stream and (length == 0 or request.method == b"HEAD" or response.status in BODILESS)
        self._send_section(section, last=bare)
        if bare:
            return b""
        sent = self.output.send_data(self.wire, body, last=len(body) == length)
        self.sent += sent
        if sent != length:
            left = None if length is None else length - sent
            self._sink = StreamSink(self.wire, self.output, self.host.pause, left)
        return body[sent:]

    def framed(self, data: bytes) -> bytes:
        return data

    def end(self, trailers: list[bytes]) -> None:
        if trailers and self.request.fields.te_trailers:
            self._send_section(section_of(trailers), last=True)
            return
        try:
            self.output.sender.end(self.wire)
        except StreamClosed as error:
            raise ClientGone from error
        self.output.schedule()

    def break_off(self) -> None:
        """Reset the stream behind what was queued (RFC 9113 section 8.1)."""
        if self.wire.writable:
            self.output.reset(self.wire, ErrorCode.INTERNAL_ERROR)

    def abort(self) -> None:
        if self.wire.writable:
            self.host.stalled(self)

    # The upgrade (RFC 8441).

    def upgrade(self, response: ResponseHead) -> tuple[Side, bytes]:
        assert self.body is not None
        self.begun = True
        more = section_of(self.request.response_fields.split(CRLF)[:-1])
        self._send_section((*upgrade_section(response), *more), last=False)
        self._become(TUNNEL)
        self._side = StreamSide(self, self.sink, self.body, self.host.later)
        return self._side, b""

    def end_response(self) -> None:
        """Send END_STREAM: the client's own half goes on."""
        if self.wire.writable:
            self.end([])

    def cancel(self) -> None:
        """What a reset of a connection of its own would be to a tunnel (RFC 8441 section 5)."""
        if self.wire.writable:
            self.output.reset(self.wire, ErrorCode.CANCEL)
