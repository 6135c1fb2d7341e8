"""Making requests of the field sections of one HTTP/2 connection.

A client that repeats its fields, as most programs do, costs a comparison instead of a reading.
"""

from time import monotonic

from proxy.downstream.frontend import Frontend
from proxy.downstream.request_builder import HTTP2, RequestBuilder
from proxy.exchange.request import Request
from proxy.exchange.route import Route, Tables
from proxy.wire.h2.request import PseudoFields, RequestHead, parse_request_head
from proxy.wire.h2.tables import Section
from proxy.wire.outline import Outline, outlined_fields, shortened


class _Memo:
    """The last request of a client whose fields were new, and what was made of it."""

    __slots__ = ("_authority", "_regular", "head", "known", "route", "section", "tables", "whole")

    def __init__(
        self, pseudo: PseudoFields, tables: Tables, head: RequestHead, route: Route | None, request: Request
    ) -> None:
        self._regular = pseudo.regular
        self._authority = pseudo.authority
        self.tables = tables
        self.head = head
        self.route = route
        self.known = request.again(request.method, request.target, request.started)
        """The same request without its exchange, which keeps a body in memory."""
        self.section: Section = ()
        """The whole section that made `head`."""
        self.whole = False

    def serves(self, pseudo: PseudoFields) -> bool:
        """Whether the fields of another request mean the same."""
        return pseudo.authority == self._authority and pseudo.regular == self._regular

    def note(self, section: Section, head: RequestHead, *, whole: bool) -> None:
        """The section of the latest request that it served; `whole` says that no body followed."""
        self.section, self.head, self.whole = section, head, whole


class RequestReader:
    """Reads the requests of one client's connection."""

    __slots__ = ("_builder", "_client", "_front", "_memo")

    def __init__(self, front: Frontend, client: str, builder: RequestBuilder) -> None:
        self._front = front
        self._builder = builder
        self._client = client
        self._memo: _Memo | None = None

    def read(self, section: Section, *, whole: bool) -> tuple[Request, Route | None]:
        """The request that a section makes, and its route; `whole` says that no body follows.

        Raises `Malformed` or `ExchangeError`.
        """
        tables, builder = self._front.tables, self._builder
        memo = self._memo
        if memo is not None and memo.tables is not tables:
            memo = None
        # The decoder gives the same object for the same bytes, as long as they mean the same.
        if memo is not None and memo.section is section and memo.whole is whole:
            return builder.repeat(memo.known, memo.head.method, memo.head.target, monotonic()), memo.route
        pseudo = PseudoFields(section)
        if memo is not None and not memo.serves(pseudo):
            memo = None
        head = parse_request_head(pseudo, tables.head_limits, None if memo is None else memo.head, whole=whole)
        route = tables.route_for(head.host, head.target, head.method, head.fields)
        if memo is not None and head.fields is memo.head.fields and route is memo.route:
            memo.note(section, head, whole=whole)
            return builder.repeat(memo.known, head.method, head.target, monotonic()), route
        fields = head.fields
        request = builder.build(
            self._client, head.method, head.target, HTTP2, fields, head.host, route, tables, monotonic()
        )
        if not fields.upgrades and not fields.unusual:
            memo = self._memo = _Memo(pseudo, tables, head, route, request)
            memo.note(section, head, whole=whole)
        return request, route

    def outline(self, section: Section) -> Request:
        """As much of a request that goes no further as the log can tell."""
        said = dict(section)
        method, target = (shortened(said.get(name, b"")) or b"-" for name in (b":method", b":path"))
        fields = outlined_fields([name + b":" + value for name, value in section])
        return self._builder.outline(self._client, Outline(method, target, HTTP2, fields), monotonic())
