"""One HTTP/2 stream as its exchange sees it: where the request's body comes from, where the answer goes."""

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hpack import HeaderTuple

from proxy import errors
from proxy.downstream.h2.body import BodySource, Incoming
from proxy.downstream.h2.tunnel import StreamSide
from proxy.downstream.origin import socket_names
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError, Failure
from proxy.exchange.machine import Exchange
from proxy.exchange.route import Route
from proxy.exchange.tunnel_side import Side
from proxy.net.stream import Sink
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.fields import BODILESS
from proxy.wire.h2_head import Field, field_tuples, response_section, upgrade_section
from proxy.wire.head import CRLF
from proxy.wire.response import ResponseHead

if TYPE_CHECKING:
    from proxy.downstream.h2.connection import Connection

_LINGER_SECONDS = 30.0
_CONTINUE: list[Field] = [HeaderTuple(b":status", b"100")]

log = logging.getLogger("gunicorn.error.proxy")


class ClientStream(BodySource):
    """A request and its answer on a connection that others share: a `Downstream`, and its own `Sink`."""

    __slots__ = (
        "_exchange",
        "_left",
        "_lingers_until",
        "_over",
        "_served",
        "_writable",
        "begun",
        "head_only",
        "owner",
        "refusal",
        "route",
        "sent",
        "side",
        "tunnelled",
    )

    def __init__(self, connection: "Connection", number: int, *, ended: bool) -> None:
        super().__init__(connection, number, ended=ended)
        self.head_only = False
        self.route: Route | None = None
        self.refusal: ExchangeError | None = None
        """Why the request goes no further than its head."""
        self.owner: greenlet | None = None
        self._exchange: Exchange | None = None
        """One that was begun in the loop's callbacks."""
        self.tunnelled = False
        self.side: StreamSide | None = None
        """The client's side of the tunnel, if this is one."""
        self.sent = 0
        self.begun = False
        self._left: int | None = None  # bytes of the answer still to be sent, once its length is known
        self._lingers_until = 0.0  # when a request that was answered before its end is cut off; 0 if it was not
        self._over = False  # the answer is complete, or will never be
        self._served = False
        self._writable: Callable[[], object] | None = None

    # Serving.

    def begin_exchange(self) -> None:
        """Answer the request in the event loop's callbacks, as far as nothing has to wait."""
        front = self.connection.front
        if self.refusal is not None or not front.at_once:
            front.resume(self)
            return
        self._exchange = Exchange(self.route, front.context, self, self.request)
        self._exchange.drive_inline()

    def resume_exchange(self) -> None:
        self.connection.front.resume(self)

    def exchange_ended(self) -> None:
        self._exchange = None
        self.finish()

    def serve(self) -> None:
        """Answer the request. Raises nothing."""
        self.owner = getcurrent()
        connection = self.connection
        front = connection.front
        try:
            if self._exchange is not None:
                self._exchange.drive_blocking()
            elif self.refusal is not None:
                Exchange(None, front.context, self, self.request).refuse(self.refusal)
            else:
                front.exchange(self, self.request, self.route)
        except (ClientGone, DeadlinePassed, OSError):
            pass
        except Exception:
            log.exception("a request failed inside the gateway")
        self.owner = self._exchange = None
        if not self.tunnelled:
            self.finish()

    private = None

    def keep(self, connection: UpstreamConnection) -> None:
        # Streams run side by side, each with an upstream connection of its own: none of them is the client's.
        connection.pool.discard(connection)

    def kept(self) -> None:
        return None

    def finish(self) -> None:
        """Nothing more is sent: end what is not complete, forget the rest."""
        if not self._over:
            self._over = True
            code = ErrorCodes.CANCEL if self.tunnelled else ErrorCodes.INTERNAL_ERROR
            self.connection.reset_stream(self.id, code)
        elif not self.ended and not self.tunnelled and not self._lingers_until:
            self._lingers_until = monotonic() + _LINGER_SECONDS
            self.discard()
            self._wait_for_end()
            return
        elif not self.ended:
            self.connection.reset_stream(self.id, ErrorCodes.NO_ERROR)
        self.connection.deadlines.streams.discard(self)
        self.discard()
        self.connection.finished(self)

    def _wait_for_end(self) -> None:
        """Let the client go on for a moment with a request that was answered before its end.

        RFC 9113 section 8.1 has the gateway ask it to stop, by RST_STREAM with NO_ERROR, but clients that are busy
        sending take that for a failure and do not look at the answer.
        """
        self.deadline = min(self._lingers_until, monotonic() + self.connection.front.tables.settings.linger_timeout)
        self.connection.deadlines.streams.add(self)

    def expire(self) -> None:
        if self._lingers_until:
            self.finish()
        else:
            super().expire()

    def refuse_unheard(self) -> None:
        """Log a request that is malformed: its stream was reset, so nobody can be told."""
        self._over = self.begun = True
        Exchange(None, self.connection.front.context, self, self.request).refuse(ExchangeError(errors.MALFORMED))

    def gone(self, failure: Failure = errors.CLIENT_CLOSED) -> None:
        """The stream was reset, or the client is gone: the exchange on it is told why."""
        self._over = True
        self.incoming = Incoming.LOST
        self.lost_by = failure
        if self.owner is not None:
            self.owner.throw(ClientGone(failure))
        elif self.side is not None:
            self.side.fail()
        else:
            if self._exchange is not None:
                exchange, self._exchange = self._exchange, None
                exchange.abandon(failure)
            self.finish()

    def take(self, data: bytes, size: int, *, ended: bool) -> None:
        super().take(data, size, ended=ended)
        if self.side is not None:
            self.side.readable()
        elif self._lingers_until:
            self.discard()
            if self.ended:
                self.finish()
            else:
                self._wait_for_end()

    # The outlet.

    @property
    def sink(self) -> Sink:
        return self

    @property
    def descriptor(self) -> int | None:
        return None

    @property
    def starved(self) -> bool:
        """Whether it is the stream's own window that is closed: then nobody but the client holds it up."""
        stream = self.connection.h2.streams.get(self.id)
        return stream is not None and stream.outbound_flow_control_window <= 0

    @property
    def undelivered(self) -> int:
        return 0  # its bytes stand among those of others

    def send(self, data: bytes | memoryview) -> int:
        connection = self.connection
        if self._over or (self._served and connection.contended):
            if self._over and data:
                raise BrokenPipeError("the stream is closed")
            return 0
        last = self._left == len(data)
        try:
            sent = connection.queue_data(self.id, data, last=last)
        except ProtocolError as error:
            raise BrokenPipeError("the stream is closed") from error
        self._served = True
        if self._left is not None:
            self._left -= sent
            self._over = not self._left
        return sent

    def wait_writable(self, deadline: float) -> None:
        self.watch_writable(getcurrent().switch)
        try:
            self._wait(deadline)
        finally:
            self.unwatch_writable()

    def watch_writable(self, callback: Callable[[], object]) -> None:
        self._writable = callback
        self.connection.wait_for_room(self)

    def unwatch_writable(self) -> None:
        self._writable = None
        self.connection.leave_room(self)

    def wake(self) -> None:
        """It is this stream's turn to send."""
        self._served = False
        if self._writable is not None:
            self._writable()

    # The answer.

    def proceed(self) -> None:
        """Tell the client to send its body (RFC 9110 section 10.1.1)."""
        self._send_section(_CONTINUE, last=False)

    def _send_section(self, section: Sequence[Field], *, last: bool) -> None:
        try:
            self.connection.h2.send_headers(self.id, section, end_stream=last)
        except ProtocolError as error:
            raise ClientGone from error
        if last:
            self._over = True
        self.connection.schedule()

    def names(self) -> tuple[object, object]:
        return socket_names(self.connection.sock)

    def inform(self, response: ResponseHead) -> None:
        self._send_section(response_section(response, None, None), last=False)

    def begin(self, response: ResponseHead, length: int | None, body: bytes, *, stream: bool) -> bytes:
        self.begun = True
        date = None if response.dated else self.connection.front.clock.date()
        bare = self.head_only or response.status in BODILESS or length == 0
        section = response_section(response, length, date)
        if stream and response.trailer is not None and self.request.fields.te_trailers:
            section = [*section, (b"trailer", response.trailer)]
        if self.request.told:
            section = [*section, *field_tuples(self.request.told.split(CRLF)[:-1])]
        self._send_section(section, last=bare and not stream)
        if bare and not stream:
            return b""
        self._left = length
        sent = self._send_first(body)
        self.sent += sent
        return body[sent:]

    def _send_first(self, body: bytes) -> int:
        try:
            return self.send(body)
        except OSError as error:
            raise ClientGone from error

    def framed(self, data: bytes) -> bytes:
        return data

    def end(self, trailers: list[bytes]) -> None:
        if trailers and self.request.fields.te_trailers:
            self._send_section(field_tuples(trailers), last=True)
            return
        try:
            self.connection.h2.end_stream(self.id)
        except ProtocolError as error:
            raise ClientGone from error
        self._over = True
        self.connection.schedule()

    def break_off(self) -> None:
        """Reset the stream behind what was queued (RFC 9113 section 8.1)."""
        if not self._over:
            self._over = True
            self.connection.reset_stream(self.id, ErrorCodes.INTERNAL_ERROR)

    def abort(self) -> None:
        if not self._over:
            self._over = True
            self.connection.reset_stalled(self.id)

    def cancel(self) -> None:
        """What a reset of a connection of its own would be to a tunnel (RFC 8441 section 5)."""
        if not self._over:
            self._over = True
            self.connection.reset_stream(self.id, ErrorCodes.CANCEL)

    # The upgrade (RFC 8441).

    def upgrade(self, response: ResponseHead) -> tuple[Side, bytes]:
        self.begun = True
        self._send_section(upgrade_section(response), last=False)
        self.tunnelled = True
        self.side = StreamSide(self)
        return self.side, b""

    def end_answer(self) -> None:
        """Send END_STREAM: the client's own half goes on."""
        if not self._over:
            self.end([])
