"""The client's side of HTTP/1: connections, their requests, the framing of their answers.

A connection between two requests is parked: a read watcher and this object, no greenlet. When bytes come, an idle
greenlet takes the connection, answers what was asked, in order, and parks it again.

    parked ──bytes──► serving ──answered, nothing more in the buffer──► parked
      │                  ├──answered with close, refused, client gone──► closed (after lingering, if it still sends)
      └──deadline, EOF   └──101──► left to the tunnel
"""

import logging
import socket
from time import monotonic

from greenlet import getcurrent, greenlet

from proxy import errors
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError
from proxy.exchange import Exchange
from proxy.front.body import BodyStream, read_chunked_body, read_sized_body
from proxy.front.front import Front
from proxy.front.origin import read_origin
from proxy.front.responder import Responder
from proxy.net.stream import HEAD_RECEIVE_SIZE, NEVER, RECEIVE_SIZE, Socket
from proxy.route import Route, Tables
from proxy.settings import Settings
from proxy.upstream.request import Request
from proxy.wire.fields import upstream_block
from proxy.wire.forwarding import Arrival
from proxy.wire.head import CRLF, END, bare_line_feed
from proxy.wire.request import SLASH, RequestFields, parse_request_fields, parse_request_line, resolve_target

_HALF_CLOSE_GRACE = 1.0
_MEMO_LIFE = 2.0
"""Seconds a parked connection remembers its client's fields; an idle one costs no more than its socket."""

_LINGER_BYTES = 64 << 20
_LINGER_SECONDS = 30.0
_NO_FIELDS = RequestFields()

log = logging.getLogger("gunicorn.error.proxy")


class Connection(Responder):
    """One client's connection: parked, read, served."""

    __slots__ = (
        "_answered",
        "_discarded",
        "_exchange",
        "_lingers_until",
        "_memo",
        "_read_ahead",
        "_returning",
        "_route",
        "half_closed",
        "owner",
    )

    def __init__(self, sock: Socket, front: Front, client: str) -> None:
        super().__init__(sock, front, client)
        self.owner: greenlet | None = None
        self.half_closed = False
        self._exchange: Exchange | None = None
        """One that runs in the loop's callbacks."""
        self._read_ahead: Request | None = None
        """One whose head was read in a callback, for a greenlet to go on with."""
        self._answered = False
        """That one has ended, and the connection waits for a greenlet to go on."""
        self._lingers_until = 0.0
        """When the wait for the client's end is over at the latest (monotonic seconds); 0 before it begins."""
        self._discarded = 0
        self._returning = False
        self._route: Route | None = None
        self._memo: tuple[bytes, bytes, Request, Tables] | None = None
        """The head of the last request, its fields as they came, and what was made of them."""
        self.deadline = monotonic() + front.tables.settings.keepalive_timeout
        front.connections.add(self)

    # Parked, or busy while the client does something unexpected.

    def unasked(self) -> None:
        if self.owner is not None or self._exchange is not None:
            self._disturbed()
        elif not self.front.at_once or not self._serve_at_once():
            self.front.resume(self)

    @property
    def parked(self) -> bool:
        """Whether no request is in flight."""
        return self.owner is None and self._exchange is None and not self.detached and not self._lingers_until

    def _serve_at_once(self) -> bool:
        """Send the request that has come to the upstream without a greenlet, if nothing about it takes waiting.

        Else its bytes, or its head, are left for the greenlet, and False. Costs nine tenths of what a greenlet does, and
        two thirds with thousands of requests in flight: each greenlet has stacks of its own.
        """
        started = monotonic()
        try:
            self.buffer = data = self.sock.recv(HEAD_RECEIVE_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.close()
            return True
        end = data.find(END)
        if end < 0:
            return False
        try:
            request = self._parse(data[:end], started, self.front.tables)
        except ExchangeError:
            return False  # the greenlet refuses it, or fails at it
        self.buffer = data[end + 4 :]
        request.received = end + 4
        route = self._route
        if route is None or not route.simple or request.fields.has_body:
            self._read_ahead = request
            return False
        self.begun = self._chunked = self._unread = False
        self.sent = 0
        self.deadline = NEVER
        self._request = request
        exchange = Exchange(route, self.front.resources, self, request)
        self._exchange = exchange
        if not exchange.start(route, self):
            self.front.resume(self)
        return True

    def resume_exchange(self) -> None:
        self.front.resume(self)

    def exchange_ended(self) -> None:
        self._exchange = None
        if self.closed or (self._keep and self.buffer):
            self._answered = True
            self.front.resume(self)
            return
        self._request = None
        if self._keep:
            self._park()
        else:
            self._linger()

    def _disturbed(self) -> None:
        """The client sends or ends while its answer is pending: bytes wait in the kernel, an end may abort.

        EOF alone does not tell a client that left from one that only finished sending. It gets a moment to turn out
        to be gone, then counts as gone unless half-closing is allowed.
        """
        self.reader.stop()
        try:
            ended = not self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.reader.start(self.unasked)
            return
        except OSError:
            self._abandon()
            return
        if ended:
            self.half_closed = True
            if self.front.tables.settings.half_close == "abort" and self.waiter is None:
                self.deadline = monotonic() + _HALF_CLOSE_GRACE

    def _abandon(self) -> None:
        """The client is gone: so is its exchange."""
        self.half_closed = True
        if self.owner is not None:
            self.owner.throw(ClientGone)
        elif self._exchange is not None:
            self._exchange.abandon()
            self._exchange = None
            self.close()

    def expire(self) -> None:
        if self.waiter is not None:
            self.waiter.throw(DeadlinePassed)
        elif self._lingers_until:
            self.close()
        elif not self.parked:
            self._abandon()
        elif self._memo is not None:
            self._memo = None
            self.deadline = monotonic() + max(0.0, self.front.tables.settings.keepalive_timeout - _MEMO_LIFE)
        else:
            self.close()

    def close(self) -> None:
        if not self.closed:
            self.front.connections.discard(self)
            self.front.ended(self.sock.fileno())
        super().close()

    # Serving.

    def serve(self) -> None:
        """Bytes have come: answer requests, in order, until the client pauses. Raises nothing."""
        self.owner = getcurrent()
        self.deadline = NEVER
        keep = False
        try:
            keep = self._begin_serving()
            while keep and self.buffer:
                keep = self._serve_one()
        except (ClientGone, DeadlinePassed, OSError):
            keep = False
            self.close()
        except Exception:
            log.exception("a request failed inside the gateway")
            keep = False
            self.close()
        self.owner = None
        self._request = None
        if self.detached:
            self._memo = None
            self.buffer = b""
        elif keep:
            self._park()
        else:
            self._linger()

    def _begin_serving(self) -> bool:
        """Answer a request, or end the one begun without a greenlet; whether the connection may carry another."""
        if self._exchange is not None:
            self._exchange.run()
            self._exchange = None
        elif not self._answered:
            return self._serve_one()
        self._answered = False
        return self._keep and self.reader is not None and not self.detached

    def _park(self) -> None:
        if self.half_closed or self.front.draining:
            self.close()
            return
        timeout = self.front.tables.settings.keepalive_timeout
        self.deadline = monotonic() + (timeout if self._memo is None else min(_MEMO_LIFE, timeout))
        if not self.reader.active:
            self.reader.start(self.unasked)

    def _serve_one(self) -> bool:
        """Answer one request; whether the connection may carry another."""
        self.begun = False
        self.sent = 0
        self._chunked = False
        started = monotonic()
        tables = self.front.tables
        try:
            request = self._read_request(started, tables)
            if request is None:
                return False
        except ExchangeError as error:
            self._refuse(error, started)
            return False
        except ClientGone:
            self._refuse(ExchangeError(errors.CLIENT_CLOSED), started)
            return False
        self.front.exchange(self, request, self._route)
        return self._keep and self.reader is not None and not self.detached

    # Reading the request.

    def _read_request(self, started: float, tables: Tables) -> Request | None:
        request = self._request = self._read_ahead
        if request is not None:
            self._read_ahead = None
            self._unread = request.fields.has_body
            return request
        data = self.buffer
        if not data:
            try:
                data = self.sock.recv(HEAD_RECEIVE_SIZE)
            except BlockingIOError:
                data = b""
                self.wait_readable(started + tables.settings.keepalive_timeout)
                data = self.sock.recv(HEAD_RECEIVE_SIZE)
            except OSError:
                return None
            if not data:
                return None
        end = data.find(END)
        if end < 0:
            data, end = self._await_head(data, started, tables)
        self.buffer = data[end + 4 :]
        request = self._request = self._parse(data[:end], started, tables)
        request.received = end + 4
        self._unread = request.fields.has_body
        return request

    def _await_head(self, data: bytes, started: float, tables: Tables) -> tuple[bytes, int]:
        """Read on until the head is complete; refuse early what cannot become one."""
        limits = tables.head_limits
        deadline = started + tables.settings.head_timeout
        while True:
            if CRLF not in data[: limits.line + 4] and len(data) > limits.line:
                raise ExchangeError(errors.TARGET_TOO_LONG, f"over {limits.line} bytes")
            if len(data) > limits.block:
                raise ExchangeError(errors.HEAD_TOO_LARGE, f"over {limits.block} bytes")
            if bare_line_feed(data):
                raise ExchangeError(errors.LINE_ENDING)
            if not data[:1].isalpha() and not CRLF.startswith(data[:2]):
                raise ExchangeError(errors.REQUEST_LINE)
            searched = max(0, len(data) - 3)
            try:
                more = self.receive(deadline)
            except DeadlinePassed:
                raise ExchangeError(errors.HEAD_TIMEOUT) from None
            except OSError as error:
                raise ClientGone from error
            if not more:
                raise ClientGone
            data += more
            end = data.find(END, searched)
            if end >= 0:
                return data, end

    def _parse(self, head: bytes, started: float, tables: Tables) -> Request:
        memo = self._memo
        if memo is not None and memo[0] == head and memo[3] is tables:
            known = memo[2]
            request = Request(
                known.method,
                known.target,
                known.minor,
                known.fields,
                known.block,
                started,
                client=known.client,
                scheme=known.scheme,
                host=known.host,
                marks=known.marks,
            )
            self._keep = not known.fields.close if known.minor else known.fields.keep_alive
        else:
            request = self._parse_new(head, started, tables)
        marks = request.marks
        if marks is None:
            request.id = self.front.resources.request_ids.make()
        else:
            request.id = marks.request_id or self.front.resources.request_ids.make()
            request.trace = marks.outgoing()
        return request

    def _parse_new(self, head: bytes, started: float, tables: Tables) -> Request:
        limits = tables.head_limits
        self._head_only = False
        if self.front.guests.refused(self.sock.fileno()):
            raise ExchangeError(errors.CONNECTIONS)
        if len(head) > limits.block:
            raise ExchangeError(errors.HEAD_TOO_LARGE, f"over {limits.block} bytes")
        if head[:2] == CRLF:
            head = head[2:]  # RFC 9112 section 2.2: one empty line may precede a request
        line, _, block = head.partition(CRLF)
        method, target, minor = parse_request_line(line, limits)
        self._minor = minor
        memo = self._memo
        if memo is not None and memo[1] == block:
            fields = memo[2].fields
        else:
            fields = parse_request_fields(block, limits)
            fields.websocket = fields.websocket and method == b"GET" and minor == 1
        host = fields.host
        plain = target[0] == SLASH and minor == 1 and host is not None
        if not plain:
            target, host = resolve_target(method, target, minor, fields)
        self._keep = not fields.close if minor else fields.keep_alive
        self._head_only = method == b"HEAD"
        last_route, self._route = self._route, tables.route_for(host, target)
        if memo is not None and memo[1] == block and plain and memo[3] is tables and self._route is last_route:
            known = memo[2]
            client, scheme, forwarded, marks = known.client, known.scheme, known.block, known.marks
        else:
            arrival = Arrival(self.client, self.front.scheme, self.front.port)
            origin, marks = read_origin(tables, self._route, arrival, host, fields)
            client, scheme, forwarded = origin.client, origin.scheme, upstream_block(fields, host, origin.lines)
        request = Request(
            method,
            target,
            minor,
            fields,
            forwarded,
            started,
            client=client,
            scheme=scheme,
            host=host,
            marks=marks,
        )
        # A connection's first request is not remembered: many connections never bring a second.
        self._memo = (head, block, request, tables) if plain and self._returning and fields.upgrade is None else None
        self._returning = True
        return request

    def read_body(self, request: Request, settings: Settings) -> None:
        self._take_body(request, settings)
        self._unread = isinstance(request.body, BodyStream)

    def _take_body(self, request: Request, settings: Settings) -> None:
        fields = request.fields
        length = request.length = fields.content_length
        if length is not None:
            if length > settings.max_body:
                raise ExchangeError(errors.BODY_TOO_LARGE, f"over {settings.max_body} bytes")
            if length <= len(self.buffer):
                request.body = self.buffer[:length] if length else None
                self.buffer = self.buffer[length:]
                request.received += length
                return
        if not settings.request_buffering:
            request.body = BodyStream(self, request, settings)
            return
        if fields.expect and request.minor and not self.buffer:
            self.proceed()
        if length is not None:
            request.body = read_sized_body(self, request, length, settings)
        else:
            request.body = read_chunked_body(self, request, settings)

    def proceed(self) -> None:
        """Tell the client to send its body (RFC 9110 section 10.1.1)."""
        self._send_all(b"HTTP/1.1 100 Continue\r\n\r\n")

    # Refusing, and closing so that the refusal is heard.

    def _refuse(self, error: ExchangeError, started: float) -> None:
        """Answer a request that goes no further and close: what follows it cannot be trusted."""
        self._keep = False
        front = self.front
        request = self._request = Request(
            b"-", b"-", self._minor, _NO_FIELDS, b"", started, client=self.client, scheme=front.scheme
        )
        request.id = front.resources.request_ids.make()
        request.received = len(self.buffer)
        Exchange(None, front.resources, self, request).refuse(error)

    def _linger(self) -> None:
        """Half-close, and close when the client has: a reset would take its answer away (RFC 9112 section 9.6).

        What it still sends is dropped. Bounded in silence, in time and in bytes; takes no greenlet.
        """
        if not self.begun or self.half_closed or self.closed:
            self.close()
            return
        self.finish_sending()
        now = monotonic()
        self._lingers_until = now + _LINGER_SECONDS
        self.deadline = now + self.front.tables.settings.linger_timeout
        self.reader.callback = self._discard
        if not self.reader.active:
            self.reader.start(self._discard)

    def _discard(self) -> None:
        """The client has sent something, or its end."""
        try:
            data = self.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._discarded += len(data)
        now = monotonic()
        if not data or self._discarded >= _LINGER_BYTES or now >= self._lingers_until:
            self.close()
        else:
            self.deadline = min(self._lingers_until, now + self.front.tables.settings.linger_timeout)
