"""Making requests of the field sections of one HTTP/2 connection.

A client that repeats its fields, as most programs do, costs a comparison instead of a reading.
"""

from time import monotonic
from typing import Final

from proxy.downstream.frontend import Frontend
from proxy.downstream.origin import read_origin, upstream_fields
from proxy.exchange.request import Request
from proxy.exchange.route import Route, Tables
from proxy.wire.forwarding import Arrival
from proxy.wire.h2.request import PseudoFields, RequestHead, parse_request_head
from proxy.wire.h2.tables import Section
from proxy.wire.outline import outlined_fields, shortened

_VERSION: Final = 2


class _Memo:
    """The last request of a client whose fields were new, and what was made of it."""

    __slots__ = (
        "_authority",
        "_regular",
        "block",
        "client",
        "head",
        "route",
        "scheme",
        "section",
        "tables",
        "trace_context",
        "whole",
    )

    def __init__(
        self, pseudo: PseudoFields, tables: Tables, head: RequestHead, route: Route | None, request: Request
    ) -> None:
        self._regular = pseudo.regular
        self._authority = pseudo.authority
        self.tables = tables
        self.head = head
        self.route = route
        self.client, self.scheme, self.block = request.client, request.scheme, request.block
        self.trace_context = request.trace_context
        self.section: Section = ()
        """The whole section that made `head`."""
        self.whole = False

    def serves(self, pseudo: PseudoFields) -> bool:
        """Whether the fields of another request mean the same."""
        return pseudo.authority == self._authority and pseudo.regular == self._regular

    def note(self, section: Section, head: RequestHead, *, whole: bool) -> None:
        """The section of the latest request that it served; `whole` says that no body followed."""
        self.section, self.head, self.whole = section, head, whole

    def request(self) -> Request:
        """The latest request over again."""
        head = self.head
        return Request(
            head.method,
            head.target,
            _VERSION,
            head.fields,
            self.block,
            monotonic(),
            client=self.client,
            scheme=self.scheme,
            host=head.host,
            trace_context=self.trace_context,
        )


class RequestReader:
    """Reads the requests of one client's connection."""

    __slots__ = ("_client", "_front", "_memo")

    def __init__(self, front: Frontend, client: str) -> None:
        self._front = front
        self._client = client
        self._memo: _Memo | None = None

    def read(self, section: Section, *, whole: bool) -> tuple[Request, Route | None]:
        """The request that a section makes, and its route; `whole` says that no body follows.

        Raises `Malformed` or `ExchangeError`.
        """
        tables = self._front.tables
        memo = self._memo
        if memo is not None and memo.tables is not tables:
            memo = None
        # The decoder gives the same object for the same bytes, as long as they mean the same.
        if memo is not None and memo.section is section and memo.whole is whole:
            return self._named(memo.request()), memo.route
        pseudo = PseudoFields(section)
        if memo is not None and not memo.serves(pseudo):
            memo = None
        head = parse_request_head(pseudo, tables.head_limits, None if memo is None else memo.head, whole=whole)
        route = tables.route_for(head.host, head.target)
        if memo is not None and head.fields is memo.head.fields and route is memo.route:
            memo.note(section, head, whole=whole)
            return self._named(memo.request()), route
        request = self._weigh(head, tables, route)
        if not head.fields.websocket and not head.fields.unusual:
            memo = self._memo = _Memo(pseudo, tables, head, route, request)
            memo.note(section, head, whole=whole)
        return self._named(request), route

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

    def _named(self, request: Request) -> Request:
        trace_context = request.trace_context
        if trace_context is None:
            request.id = self._front.context.request_ids.make()
        else:
            request.id = trace_context.request_id or self._front.context.request_ids.make()
            request.trace = trace_context.outgoing()
        return request

    def outline(self, section: Section) -> Request:
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
        return self._named(request)
