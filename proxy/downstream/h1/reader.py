"""The reading half of an HTTP/1 connection: heads, and bodies once they are wanted."""

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.downstream.h1.body import BodyStream, check_length, read_chunked_body, read_sized_body
from proxy.downstream.h1.writer import Responder
from proxy.downstream.origin import read_origin, upstream_fields
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError
from proxy.exchange.request import Request
from proxy.exchange.route import Route, Tables
from proxy.net.event_loop import Watcher
from proxy.net.sockets import HEAD_RECEIVE_SIZE, Socket
from proxy.net.tls_socket import TlsSocket
from proxy.settings import Settings
from proxy.wire.forwarding import Arrival
from proxy.wire.head import CRLF, END, bare_line_feed
from proxy.wire.request import parse_request_fields
from proxy.wire.request_line import SLASH, parse_request_line, resolve_target


class Reader(Responder):
    """What comes from the client, request by request."""

    __slots__ = ("_memo", "_returning", "_route")

    def __init__(self, sock: Socket | TlsSocket, front: Frontend, client: str, watcher: Watcher | None = None) -> None:
        super().__init__(sock, front, client, watcher)
        self._returning = False
        self._route: Route | None = None
        self._memo: tuple[bytes, bytes, Request, Tables] | None = None
        """The head of the last request to its last byte, its fields as they came, and what was made of them."""

    def _read_request(self, started: float, tables: Tables) -> Request | None:
        """The next request; None when the client is done. Raises `ExchangeError`, `ClientGone` or `DeadlinePassed`."""
        self._request = None
        data = self.buffer
        if not data:
            try:
                data = self.sock.recv(HEAD_RECEIVE_SIZE)
            except BlockingIOError:
                data = b""
                self.wait_readable(started + tables.settings.first_request_timeout)
                data = self.sock.recv(HEAD_RECEIVE_SIZE)
            except OSError:
                return None
            if not data:
                return None
        request = self._recall(data, started, tables)
        if request is None:
            end = data.find(END)
            if end < 0:
                data, end = self._await_head(data, started, tables)
            self.buffer = data  # for the log, should it be refused
            request = self._take(self._parse(data[:end], started, tables), data, end + 4)
        return request

    def _await_head(self, data: bytes, started: float, tables: Tables) -> tuple[bytes, int]:
        """Read on until the head is complete; refuse early what cannot become one."""
        limits = tables.head_limits
        deadline = started + tables.settings.head_timeout
        while True:
            self.buffer = data  # for the log, should it be refused
            if CRLF not in data[: limits.line + 4] and len(data) > limits.line:
                raise limits.long_line()
            if len(data) > limits.block:
                raise limits.large_block()
            if bare_line_feed(data):
                raise ExchangeError(errors.LINE_ENDING)
            if not data[:1].isalpha() and not CRLF.startswith(data[:2]):
                raise ExchangeError(errors.REQUEST_LINE)
            searched = max(0, len(data) - 3)
            try:
                more = self.receive(deadline)
            except DeadlinePassed:
                measure = f"not complete within {tables.settings.head_timeout:g} s (head_timeout)"
                raise ExchangeError(errors.HEAD_TIMEOUT, measure) from None
            except OSError as error:
                raise ClientGone from error
            if not more:
                raise ClientGone
            data += more
            end = data.find(END, searched)
            if end >= 0:
                return data, end

    def _recall(self, data: bytes, started: float, tables: Tables) -> Request | None:
        """The request that `data` begins with, if it is the last one over again."""
        memo = self._memo
        if memo is None or memo[3] is not tables or not data.startswith(memo[0]):
            return None
        request = memo[2].renew(started)
        self._keep = not request.fields.close if request.minor else request.fields.keep_alive
        return self._take(request, data, len(memo[0]))

    def _take(self, request: Request, data: bytes, size: int) -> Request:
        """Go on with a request whose head are the first `size` bytes: it gets its id, the rest is for later."""
        self.buffer = data[size:]
        self._request = request
        request.received = size
        fields = request.fields
        self._unread = fields.chunked or bool(fields.content_length)
        trace_context = request.trace_context
        if trace_context is None:
            request.id = self.front.context.request_ids.make()
        else:
            request.id = trace_context.request_id or self.front.context.request_ids.make()
            request.trace = trace_context.outgoing()
        return request

    def _parse(self, head: bytes, started: float, tables: Tables) -> Request:
        limits = tables.head_limits
        limit = self.front.connection_limit
        if limit.refusing and limit.refused(self.sock.fileno()):
            raise ExchangeError(errors.CONNECTIONS)
        if len(head) > limits.block:
            raise limits.large_block()
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
            target, host = resolve_target(method, target, minor, host, chunked=fields.chunked)
        self._keep = (not fields.close if minor else fields.keep_alive) and tables.settings.keepalive_timeout > 0
        self._head_only = method == b"HEAD"
        last_route, self._route = self._route, tables.route_for(host, target)
        if memo is not None and memo[1] == block and plain and memo[3] is tables and self._route is last_route:
            known = memo[2]
            client, scheme, forwarded, trace_context = known.client, known.scheme, known.block, known.trace_context
        else:
            arrival = Arrival(self.client, self.front.scheme, self.front.port)
            origin, trace_context = read_origin(tables, self._route, arrival, host, fields)
            client, scheme = origin.client, origin.scheme
            forwarded = upstream_fields(self._route, minor, host, fields, origin, self.front.context.counters)
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
            trace_context=trace_context,
        )
        # A connection's first request is not remembered: many connections never bring a second.
        memorable = plain and self._returning and fields.upgrade is None and not fields.unusual
        self._memo = (head + END, block, request, tables) if memorable else None
        self._returning = True
        return request

    def read_body(self, request: Request, settings: Settings) -> None:
        self._take_body(request, settings)
        self._unread = isinstance(request.body, BodyStream)

    def take_body(self, request: Request, settings: Settings) -> bool:
        """Set the request's body if all of it is in the buffer; whether nothing of it is still to come."""
        fields = request.fields
        length = fields.content_length
        if length is None:
            return not fields.chunked
        if length > len(self.buffer) or length > settings.max_body:
            return False
        request.length = length
        request.body = self.buffer[:length] if length else None
        self.buffer = self.buffer[length:]
        request.received += length
        self._unread = False
        return True

    def _take_body(self, request: Request, settings: Settings) -> None:
        if self.take_body(request, settings):
            return
        fields = request.fields
        length = request.length = fields.content_length
        if length is not None:
            check_length(length, settings)
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
