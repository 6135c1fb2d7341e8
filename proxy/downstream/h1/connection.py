"""One client's HTTP/1 connection: its states, and the requests on it, one after the other.

An idle connection is a read watcher and this object, no greenlet. When bytes come, what needs no waiting is done in the
watcher's callback; for anything else an idle greenlet takes the connection, serves the requests on it in order, and
leaves it idle again.

Bytes become requests, and responses bytes, elsewhere: `RequestReader`, `IncomingBody` and `ResponseWriter` know nothing
of each other's work, nor of the connection.
"""

from collections.abc import Iterable
from time import monotonic
from typing import Final

from greenlet import getcurrent, greenlet

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.downstream.h1.body import IncomingBody
from proxy.downstream.h1.lingering import Lingering, linger
from proxy.downstream.h1.reader import RequestReader
from proxy.downstream.h1.states import CLOSED, HALF_CLOSED, IDLE, LINGERING, READING, SERVING, TUNNEL, State, check
from proxy.downstream.h1.writer import CLOSE_DELIMITED, CONTINUE, KEEP, UNSENT, ResponseWriter
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError, Failure, blaming
from proxy.exchange.machine import Exchange
from proxy.exchange.request import Request
from proxy.exchange.tunnel_side import Side
from proxy.log import log
from proxy.net.event_loop import NEVER, Watcher
from proxy.net.sockets import END_FOLLOWS, HEAD_RECEIVE_SIZE, Socket
from proxy.net.stream import LONGEST_JOINED, Sink, Stream
from proxy.net.tls_socket import TlsSocket
from proxy.settings import Settings
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.fields import informational
from proxy.wire.outline import outline
from proxy.wire.response import ResponseHead

_HALF_CLOSE_GRACE: Final = 1.0
_MEMO_LIFE: Final = 2.0
"""Seconds an idle connection remembers what its client sent; after that it costs no more than its socket."""


class Connection(Stream):
    """A client's connection, and the `Downstream` of the exchanges on it."""

    __slots__ = (
        "_exchange",
        "_greenlet",
        "_lingering",
        "_reader",
        "_writer",
        "client",
        "front",
        "private",
        "sent",
        "state",
    )

    def __init__(
        self,
        sock: Socket | TlsSocket,
        front: Frontend,
        client: str,
        watcher: Watcher | None = None,
        received: bytes = b"",
        refusal: Failure | None = None,
    ) -> None:
        """`client` is the peer's address, `received` what was read already; `refusal` is all that is said to it."""
        super().__init__(sock, front.context.hub, front.context.deadlines, watcher, swept=True)
        self.front = front
        self.client = client
        self.state = IDLE
        self.sent = 0
        """Bytes of responses to the current request, or the last one."""
        self.private: UpstreamConnection | None = None
        """An idle upstream connection that is this client's alone (`proxy.wire.authentication`)."""
        if refusal is None and front.connection_limit.refused(sock.fileno()):
            refusal = errors.CONNECTIONS
        self._reader = RequestReader(front.requests_of(sock), received, refusal)
        self._writer = ResponseWriter()
        self._greenlet: greenlet | None = None
        """The one that serves it, if any."""
        self._exchange: Exchange | None = None
        """The one under way, or the last that the loop's callbacks drove, for a client that repeats its request."""
        self._lingering: Lingering | None = None
        self.deadline = monotonic() + front.tables.settings.first_request_timeout
        front.connections.add(self)

    def _become(self, state: State) -> None:
        """Change the state. Where every request comes by, this is done in place."""
        check(self.state, state)
        if self.front.logs_states:
            self._log_change(state)
        self.state = state

    def _log_change(self, state: State) -> None:
        check(self.state, state)
        log.debug("connection %d of %s: %s -> %s", self.sock.fileno(), self.client, self.state.name, state.name)

    @property
    def parked(self) -> bool:
        return self.state is IDLE

    @property
    def detached(self) -> bool:
        return self.state is TUNNEL

    def exchanges(self) -> Iterable[Exchange]:
        return () if self._exchange is None else (self._exchange,)

    # Serving in the event loop's callbacks.

    def on_readable(self) -> None:
        """Bytes have come, or the client's end: begin the exchange of a request that is here.

        A head that is incomplete or malformed is left for a greenlet.
        """
        if self.state is not IDLE:
            self._disturbed()
            return
        front, reader = self.front, self._reader
        if not front.inline:
            front.resume(self)
            return
        started = monotonic()
        try:
            data = self.sock.recv(HEAD_RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            request = reader.read(data, front, self.client, started)
        except ExchangeError:
            request = None
        if request is None:
            reader.buffer = data
            front.resume(self)
            return
        self._begin(request)
        self.deadline = NEVER
        exchange = self._exchange
        if exchange is None:
            exchange = self._exchange = Exchange(reader.route, front.context, self, request)
        else:
            exchange.renew(reader.route, request)
        exchange.drive_inline()

    def resume_exchange(self) -> None:
        self.front.resume(self)

    def exchange_ended(self) -> None:
        """No exchange is under way any more: wait for the next request, or end."""
        reader, front = self._reader, self.front
        timeout = front.tables.settings.keepalive_timeout
        if reader.memo is None:
            self._exchange = None
            self._writer.forget()
        elif timeout > _MEMO_LIFE:
            timeout = _MEMO_LIFE
        if self._writer.ending is not KEEP:
            self._linger()
        elif reader.buffer and self.state is not CLOSED:
            self._become(READING)
            front.resume(self)
        elif self.state is SERVING and not front.draining:
            if front.logs_states:
                self._log_change(IDLE)
            self.state = IDLE
            self.deadline = monotonic() + timeout
            if self.tls is not None or not self.read_watcher.active:
                self.watch_readable(self.on_readable)
        elif self.state is not TUNNEL:
            self.close()

    def _begin(self, request: Request) -> None:
        """A request is here, and nothing of its response."""
        front, writer = self.front, self._writer
        self.sent = 0
        writer.framing = UNSENT
        if writer.request is not request:  # its client has not sent it once more
            writer.start(request, front.tables.settings)
        if front.logs_states:
            self._log_change(SERVING)
        self.state = SERVING

    # Serving in a greenlet.

    def serve(self) -> None:
        """Serve requests, in order, until the client pauses; first the exchange under way, if any. Raises nothing."""
        self._greenlet = getcurrent()
        self.deadline = NEVER
        try:
            if self.state is IDLE or self.state is READING:
                self._serve_next()
            else:
                assert self._exchange is not None
                self._exchange.drive_blocking()
            while self._reader.buffer and self._writer.ending is KEEP and self.state is not CLOSED:
                self._serve_next()
        except (ClientGone, DeadlinePassed, OSError):
            self.close()
        except Exception:
            log.exception("a request failed inside the gateway")
            self.break_off()
        self._greenlet = self._exchange = None
        self.exchange_ended()

    def _serve_next(self) -> None:
        """Serve one request."""
        started = monotonic()
        if self.state is not READING:
            self._become(READING)
        try:
            request = self._reader.receive(self, self.front, self.client, started)
        except (ExchangeError, ClientGone) as error:
            self._refuse(error if isinstance(error, ExchangeError) else ExchangeError(error.failure), started)
            return
        if request is None:
            self.close()
            return
        self._begin(request)
        if not self.read_watcher.active:  # an end that was seen behind the request before is seen anew
            self.read_watcher.start(self.on_readable)
        exchange = self._exchange = Exchange(self._reader.route, self.front.context, self, request)
        exchange.drive_blocking()

    def _refuse(self, error: ExchangeError, started: float) -> None:
        """Refuse a request that goes no further, and close: what follows it cannot be trusted."""
        front, data = self.front, self._reader.buffer
        request = self._reader.builder.outline(self.client, outline(data), started)
        request.received = len(data)
        self._begin(request)
        self._writer.refuse()
        Exchange(None, front.context, self, request).refuse(error)

    # The client's side of an exchange (`proxy.exchange.downstream`).

    @property
    def sink(self) -> Sink:
        return self

    @property
    def begun(self) -> bool:
        return self._writer.begun

    def names(self) -> tuple[object, object]:
        with blaming(errors.CLIENT_CLOSED):
            return self.sock.getpeername(), self.sock.getsockname()

    def keep_private(self, connection: UpstreamConnection) -> None:
        # Behind another proxy, or at a unix socket, each request may come from another client.
        shared = not self.client or self.front.tables.trusted.trusts(self.client)
        if shared or self.closed or self.state is TUNNEL:
            connection.pool.discard(connection)
        else:
            self.private = connection

    def take_private(self) -> UpstreamConnection | None:
        connection, self.private = self.private, None
        return None if connection is None or connection.closed else connection

    def take_body(self, request: Request, settings: Settings) -> bool:
        return self._reader.take_body(request, settings)

    def read_body(self, request: Request, settings: Settings) -> None:
        if not self._reader.take_body(request, settings):
            body = IncomingBody(self, self._reader, request, lambda: self._send_all(CONTINUE))
            body.read(settings, self.front.context.pipes)

    def inform(self, response: ResponseHead) -> None:
        self._send_all(informational(response))

    def begin(self, response: ResponseHead, length: int | None, body: bytes, *, stream: bool) -> bytes:
        writer, front = self._writer, self.front
        if front.draining or self._reader.unread:  # RFC 9112 section 9.3
            writer.close()
        apart = len(body) > LONGEST_JOINED and self.tls is None and not stream and not writer.head_only
        data = writer.begin(response, length, b"" if apart else body, front.clock, stream=stream)
        flags = 0
        if writer.ending is not KEEP:
            if writer.framing is CLOSE_DELIMITED:
                front.close_delimited.add(self)
            elif writer.completes(body, length):
                flags = END_FOLLOWS
        try:
            sent = self.send_apart(data, body, flags) if apart else self.sock.send(data, flags)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ClientGone from error
        self.sent += sent
        if apart and sent < len(data) + len(body):
            data += body
        return b"" if sent >= len(data) else data[sent:]

    def framed(self, data: bytes) -> bytes:
        return self._writer.framed(data)

    def end(self, trailers: list[bytes]) -> None:
        last = self._writer.end(trailers)
        if last:
            self._send_all(last)
        self.front.close_delimited.discard(self)

    def break_off(self) -> None:
        self._writer.break_off()

    def abort(self) -> None:
        self._writer.break_off()
        self.reset()

    def upgrade(self, response: ResponseHead) -> tuple[Side, bytes]:
        self._send_all(self._writer.upgrade(response))
        self._become(TUNNEL)
        self._forget()
        early, self._reader.buffer = self._reader.buffer, b""
        return self, early

    def _send_all(self, data: bytes) -> None:
        with blaming(errors.CLIENT_CLOSED, lambda: ExchangeError(errors.CLIENT_STALLED)):
            self.send_all(data, self.front.tables.settings.write_timeout)
        self.sent += len(data)

    # Ends: the client's, a deadline's, ours.

    def _disturbed(self) -> None:
        """The client sends or ends while its response is pending: bytes wait in the kernel, an end may abort.

        EOF alone does not tell a client that left from one that only finished sending. It gets a moment to turn out
        to be gone, then counts as gone unless half-closing is allowed.
        """
        self.unwatch_readable()
        try:
            found = self.peek()
        except OSError:
            self._abandon()
            return
        if found is None:
            self.read_watcher.start(self.on_readable)
        elif not found and self.state is SERVING:
            self._become(HALF_CLOSED)
            if self.front.tables.settings.half_close == "abort" and self.waiter is None:
                self.deadline = monotonic() + _HALF_CLOSE_GRACE

    def _abandon(self) -> None:
        """The client is gone: so is its exchange."""
        if self.state is SERVING:
            self._become(HALF_CLOSED)
        if self._greenlet is not None:
            self._greenlet.throw(ClientGone)
        elif self._exchange is not None:
            self._exchange.abandon()
            self.close()

    def expire(self) -> None:
        if self.waiter is not None:
            self.waiter.throw(DeadlinePassed)
        elif self._lingering is not None:
            self._lingering.expire()
        elif self.state is not IDLE:
            self._abandon()
        elif self._reader.memo is not None:
            self._forget()
            self.deadline = monotonic() + max(0.0, self.front.tables.settings.keepalive_timeout - _MEMO_LIFE)
        else:
            self.close()

    def _forget(self) -> None:
        """Keep nothing of the last request."""
        self._exchange = None
        self._reader.forget()
        self._writer.forget()

    def _linger(self) -> None:
        """No request follows: end the connection so that its last response is not lost."""
        if self.closed:
            return
        settings = self.front.tables.settings
        lingering = linger(self, self._writer, settings, half_closed=self.state is HALF_CLOSED)
        if not self.closed:
            self._lingering = lingering
            self._become(LINGERING)

    def close(self) -> None:
        if not self.closed:
            self._become(CLOSED)
            self._exchange = self._lingering = None  # both know this connection
            self.front.connections.discard(self)
            self.front.close_delimited.discard(self)
            self.front.ended(self.sock.fileno())
            if self.private is not None:
                self.private.pool.discard(self.private)
        super().close()
