"""Reading HTTP/1 requests: from the bytes of a connection to the requests that they make.

A client that repeats itself, as most programs do, costs comparisons of bytes instead of parsing: of the whole head, or
of the fields behind the first line.
"""

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.downstream.request_builder import RequestBuilder
from proxy.errors import ClientGone, ExchangeError, Failure, blaming
from proxy.exchange.request import Request
from proxy.exchange.route import Route, Tables
from proxy.net.sockets import HEAD_RECEIVE_SIZE
from proxy.net.stream import Stream
from proxy.settings import Settings
from proxy.wire.head import CRLF, END, bare_line_feed
from proxy.wire.request import RequestFields, parse_request_fields
from proxy.wire.request_line import SLASH, HeadLimits, parse_request_line, resolve_target


class Memo:
    """The last request of a connection: its head to the last byte, its fields as they came, what was made of them."""

    __slots__ = ("block", "has_body", "head", "request", "tables")

    def __init__(self, head: bytes, block: bytes, request: Request, tables: Tables, *, has_body: bool) -> None:
        self.head = head
        self.block = block
        self.request = request
        self.tables = tables
        self.has_body = has_body


class RequestReader:
    """Reads the requests of one connection, and keeps what was received ahead of them.

    With a `refusal` every request is refused as soon as some of it is here.
    """

    __slots__ = ("_refusal", "_returning", "buffer", "builder", "memo", "route", "unread")

    def __init__(self, builder: RequestBuilder, received: bytes, refusal: Failure | None) -> None:
        self.builder = builder
        self._refusal = refusal
        self.buffer = received
        """Bytes that were received behind what was read so far."""
        self.unread = False
        """Part of the last request's body is still to be read: no request can follow."""
        self.route: Route | None = None
        """The last request's."""
        self.memo: Memo | None = None
        self._returning = False

    def read(self, data: bytes, front: Frontend, client: str, started: float) -> Request | None:
        """The request that `data` begins with, or None if its head is not complete; the buffer has what follows.

        The exchange of the last request has ended: if its client has sent the same once more, it is the same object.
        Raises `ExchangeError`.
        """
        memo = self.memo
        if memo is not None and memo.tables is front.tables and data.startswith(memo.head):
            request = memo.request.renew(self.builder.request_ids, started)
            size = len(memo.head)
            self.unread = memo.has_body
        else:
            self.buffer = data  # for the log, should it be refused
            end = data.find(END)
            if self._refusal is not None:
                raise ExchangeError(self._refusal)
            if end < 0:
                return None
            request = self._parse(data[:end], front, client, started)
            size = end + len(END)
        request.received = size
        self.buffer = data[size:]
        return request

    def _parse(self, head: bytes, front: Frontend, client: str, started: float) -> Request:
        tables, builder = front.tables, self.builder
        limits = tables.head_limits
        if len(head) > limits.block:
            raise limits.large_block()
        if head[:2] == CRLF:
            head = head[2:]  # RFC 9112 section 2.2: one empty line may precede a request
        line, _, block = head.partition(CRLF)
        method, target, minor = parse_request_line(line, limits)
        known = self.memo if self.memo is not None and self.memo.block == block else None
        if known is None:
            fields = parse_request_fields(block, limits, method, minor)
        else:
            fields = known.request.fields
        host = fields.host
        plain = target[0] == SLASH and minor == 1 and host is not None
        if not plain:
            target, host = resolve_target(method, target, minor, host, chunked=fields.chunked)
        last_route, self.route = self.route, tables.route_for(host, target, method, fields)
        if known is not None and plain and known.tables is tables and self.route is last_route:
            request = builder.repeat(known.request, method, target, started)
        else:
            request = builder.build(client, method, target, minor, fields, host, self.route, tables, started)
        self.unread = has_body = fields.has_body
        # A connection's first request is not remembered: many connections never bring a second.
        if plain and self._returning and (known is not None or _repeatable(fields)):
            self.memo = Memo(head + END, block, request, tables, has_body=has_body)
        else:
            self.memo = None
        self._returning = True
        return request

    def take_body(self, request: Request, settings: Settings) -> bool:
        """Set the request's body if all of it was received; whether nothing of it is still to come."""
        length = request.fields.content_length
        if length is None:
            return not request.fields.chunked
        if length > len(self.buffer) or length > settings.max_body:
            return False
        request.length = length
        request.body = self.buffer[:length] if length else None
        self.buffer = self.buffer[length:]
        request.received += length
        self.unread = False
        return True

    def forget(self) -> None:
        """Forget what the client has sent: it is not likely to be repeated soon."""
        self.memo = None

    def receive(self, stream: Stream, front: Frontend, client: str, started: float) -> Request | None:
        """The next request, awaited in a greenlet; None at the client's end.

        Raises `ExchangeError`, also early for what cannot become a head; `ClientGone` for an end in a head, and
        `DeadlinePassed` or `OSError` before one.
        """
        tables = front.tables
        settings = tables.settings
        if not self.buffer:
            try:
                self.buffer = stream.sock.recv(HEAD_RECEIVE_SIZE)
            except BlockingIOError:
                self.buffer = stream.receive(started + settings.first_request_timeout, HEAD_RECEIVE_SIZE)
            if not self.buffer:
                return None
        deadline = started + settings.head_timeout
        while (request := self.read(self.buffer, front, client, started)) is None:
            _check_start(self.buffer, tables.head_limits)
            with blaming(errors.CLIENT_CLOSED, lambda: _late(settings)):
                data = stream.receive(deadline)
            if not data:
                raise ClientGone
            self.buffer += data
        return request


def _late(settings: Settings) -> ExchangeError:
    return ExchangeError(errors.HEAD_TIMEOUT, f"not complete within {settings.head_timeout:g} s (head_timeout)")


def _repeatable(fields: RequestFields) -> bool:
    """Whether the same fields on the same connection mean the same once more."""
    return not fields.close and not fields.upgrades and not fields.unusual


def _check_start(data: bytes, limits: HeadLimits) -> None:
    """Refuse what cannot become the head of a request, whatever follows. Raises `ExchangeError`."""
    if CRLF not in data[: limits.line + 4] and len(data) > limits.line:
        raise limits.long_line()
    if len(data) > limits.block:
        raise limits.large_block()
    if bare_line_feed(data):
        raise ExchangeError(errors.LINE_ENDING)
    if not data[:1].isalpha() and not CRLF.startswith(data[:2]):
        raise ExchangeError(errors.REQUEST_LINE)
