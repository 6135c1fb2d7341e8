"""Making requests of the heads that the clients' protocols have read."""

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.context import ExchangeContext
from proxy.exchange.request import Request
from proxy.exchange.route import Route, Tables
from proxy.net.client_certificate import ClientCertificate
from proxy.wire.fields import upstream_block
from proxy.wire.forwarding import Arrival, Origin, origin_of
from proxy.wire.head import CRLF
from proxy.wire.outline import Outline
from proxy.wire.request import RequestFields
from proxy.wire.tracing import TraceContext, read_trace

HTTP2 = 2
"""What a request that came over HTTP/2 has for a minor version."""


class RequestBuilder:
    """Makes the requests of one listener, whichever protocol they came by.

    `scheme` and `port` are those that its clients connect with. One with a `certificate` makes those of one connection.
    """

    def __init__(
        self, context: ExchangeContext, scheme: bytes, port: bytes, certificate: ClientCertificate | None = None
    ) -> None:
        self.scheme = scheme
        self.request_ids = context.request_ids
        self._context = context
        self._counters = context.counters
        self._port = port
        self._certificate = certificate

    def of(self, certificate: ClientCertificate) -> "RequestBuilder":
        """A builder for a connection whose client was asked for its certificate."""
        return RequestBuilder(self._context, self.scheme, self._port, certificate)

    def build(
        self,
        client: str,
        method: bytes,
        target: bytes,
        minor: int,
        fields: RequestFields,
        host: bytes | None,
        route: Route | None,
        tables: Tables,
        started: float,
    ) -> Request:
        """The request that a client makes, with what its upstream is sent of it.

        `client` is the address of the peer. Raises `ExchangeError` for a request that this route has forwarded
        before, and for an extended CONNECT with a protocol that it does not permit.
        """
        origin, trace_context = self._origin(tables, route, Arrival(client, self.scheme, self._port), host, fields)
        certificate = self._certificate
        lines = origin.lines
        if certificate is not None:
            lines += certificate.lines(tables.settings.tls_client_fields)
        upgrade = _upgrade(route, minor, fields) if fields.upgrades else b""
        request = Request(
            method,
            target,
            minor,
            fields,
            self._upstream_fields(route, minor, host, fields, lines, upgrade),
            started,
            client=origin.client,
            scheme=origin.scheme,
            host=host,
            trace_context=trace_context,
            certificate=certificate,
            upgrade=upgrade,
        )
        request.identify(self.request_ids)
        return request

    def repeat(self, known: Request, method: bytes, target: bytes, started: float) -> Request:
        """As `build`, where the fields, the host, the route and the tables are those of a request known before."""
        request = known.again(method, target, started)
        request.identify(self.request_ids)
        return request

    def outline(self, client: str, outlined: Outline, started: float) -> Request:
        """As much of a request that goes no further as the log can tell."""
        method, target, minor, fields = outlined
        request = Request(method, target, minor, fields, b"", started, client=client, scheme=self.scheme)
        request.certificate = self._certificate
        request.identify(self.request_ids)
        return request

    def _origin(
        self, tables: Tables, route: Route | None, arrival: Arrival, host: bytes | None, fields: RequestFields
    ) -> tuple[Origin, TraceContext | None]:
        """The request id, client and trace context, as far as its fields are trusted.

        There is no trace context unless the request brought one, or traces begin here.
        """
        settings = route.settings if route is not None else tables.settings
        forwarding_fields = fields.forwarding_fields
        origin = origin_of(arrival, host, forwarding_fields, tables.trusted, forwarded=settings.forwarded)
        tracing = tables.settings.tracing
        if not forwarding_fields and not tracing:
            return origin, None
        trace = read_trace(forwarding_fields)
        if origin.request_id is None and trace is None and not tracing:
            return origin, None
        trusted = tables.trusted.trusts(arrival.peer)
        if tracing and not trusted and settings.trace_clients == "trusted":
            trace = None
        return origin, TraceContext(origin.request_id, trace, tracing, settings.trace_sample, decided=trusted)

    def _upstream_fields(
        self, route: Route | None, minor: int, host: bytes | None, fields: RequestFields, about: bytes, upgrade: bytes
    ) -> bytes:
        if route is None:
            return upstream_block(fields, host, about)
        route.via.check(fields.via)
        more = route.via.lines[minor]
        if fields.unusual:
            passed, dropped = route.unusual.sort(fields)
            more = b"".join(line + CRLF for line in passed) + more
            for name in dropped:
                route.note_dropped(name, self._counters)
        return upstream_block(fields, route.host if host is None else host, about, more, upgrade)


def _upgrade(route: Route | None, minor: int, fields: RequestFields) -> bytes:
    """The protocol that the upstream is asked to switch to.

    If there is none, a request of HTTP/1 is served without. Raises `ExchangeError` for an extended CONNECT, which is
    nothing else (RFC 8441 section 4).
    """
    if route is None:
        return b""
    upgrade = route.upgrades.choose(fields)
    if not upgrade and minor == HTTP2:
        raise ExchangeError(errors.PROTOCOL)
    return upgrade
