"""Making requests of the field sections of one HTTP/2 connection.

A client that repeats its fields, as most programs do, costs a comparison instead of a reading.
"""

from collections.abc import Sequence
from time import monotonic

from proxy.downstream.frontend import Frontend
from proxy.downstream.origin import read_origin, upstream_fields
from proxy.exchange.request import Request
from proxy.exchange.route import Route, Tables
from proxy.wire.forwarding import Arrival
from proxy.wire.h2_head import Field, Malformed, RequestHead, parse_request_head, regular_fields
from proxy.wire.outline import outlined_fields, shortened

_VERSION = 2


class _Memo:
    """The regular fields and the authority of a client's last request, and what was made of them."""

    __slots__ = ("_authority", "_regular", "_tables", "block", "client", "head", "route", "scheme", "trace_context")

    def __init__(
        self,
        regular: Sequence[Field],
        authority: bytes | None,
        tables: Tables,
        head: RequestHead,
        route: Route | None,
        request: Request,
    ) -> None:
        self._regular = regular
        self._authority = authority
        self._tables = tables
        self.head = head
        self.route = route
        self.client, self.scheme, self.block, self.trace_context = (
            request.client,
            request.scheme,
            request.block,
            request.trace_context,
        )

    def serves(self, regular: Sequence[Field], authority: bytes | None, tables: Tables, *, whole: bool) -> bool:
        """Whether a request with these fields, `whole` with its head, is read alike."""
        return (
            (whole or self.head.fields.content_length is not None)
            and authority == self._authority
            and tables is self._tables
            and regular == self._regular
        )


class RequestReader:
    """Reads the requests of one client's connection."""

    __slots__ = ("_client", "_front", "_memo")

    def __init__(self, front: Frontend, client: str) -> None:
        self._front = front
        self._client = client
        self._memo: _Memo | None = None

    def read(self, section: Sequence[Field], *, whole: bool) -> tuple[Request, Route | None]:
        """The request that a section makes, and its route; `whole` says that no body follows.

        Raises `Malformed` or `ExchangeError`.
        """
        tables = self._front.tables
        regular, authority = regular_fields(section)
        memo = self._memo
        if memo is not None and not memo.serves(regular, authority, tables, whole=whole):
            memo = None
        head = parse_request_head(section, tables.head_limits, memo.head if memo is not None else None)
        fields = head.fields
        if whole and fields.content_length:
            raise Malformed("a length without a body")
        route = tables.route_for(head.host, head.target)
        if memo is not None and fields is memo.head.fields and route is memo.route:
            request = Request(
                head.method,
                head.target,
                _VERSION,
                fields,
                memo.block,
                monotonic(),
                client=memo.client,
                scheme=memo.scheme,
                host=head.host,
                trace_context=memo.trace_context,
            )
        else:
            fields.chunked = not whole and not fields.websocket and fields.content_length is None
            request = self._weigh(head, tables, route)
            if not fields.chunked and not fields.websocket and not fields.unusual:
                self._memo = _Memo(regular, authority, tables, head, route, request)
        self._name(request)
        return request, route

    def _weigh(self, head: RequestHead, tables: Tables, route: Route | None) -> Request:
        """A request whose fields were not seen before."""
        front = self._front
        arrival = Arrival(self._client, front.scheme, front.port)
        origin, trace_context = read_origin(tables, route, arrival, head.host, head.fields)
        return Request(
            head.method,
            head.target,
            _VERSION,
            head.fields,
            upstream_fields(route, _VERSION, head.host, head.fields, origin, front.context.counters),
            monotonic(),
            client=origin.client,
            scheme=origin.scheme,
            host=head.host,
            trace_context=trace_context,
        )

    def _name(self, request: Request) -> None:
        trace_context = request.trace_context
        if trace_context is None:
            request.id = self._front.context.request_ids.make()
        else:
            request.id = trace_context.request_id or self._front.context.request_ids.make()
            request.trace = trace_context.outgoing()

    def outline(self, section: Sequence[Field]) -> Request:
        """As much of a request that goes no further as the log can tell."""
        said = dict(section)
        method, target = (shortened(said.get(name, b"")) or b"-" for name in (b":method", b":path"))
        request = Request(
            method,
            target,
            _VERSION,
            outlined_fields([name + b":" + value for name, value in section]),
            b"",
            monotonic(),
            client=self._client,
            scheme=self._front.scheme,
        )
        self._name(request)
        return request
