"""Whom a request is made for and what it is told from others by, the same for all protocols of clients."""

from proxy.errors import ClientGone
from proxy.exchange.route import Route, Tables
from proxy.net.sockets import Socket
from proxy.net.tls_socket import TlsSocket
from proxy.observe.metrics import Counters
from proxy.wire.fields import upstream_block
from proxy.wire.forwarding import Arrival, Origin, origin_of
from proxy.wire.head import CRLF
from proxy.wire.request import RequestFields
from proxy.wire.tracing import TraceContext, read_trace


def read_origin(
    tables: Tables, route: Route | None, arrival: Arrival, host: bytes | None, fields: RequestFields
) -> tuple[Origin, TraceContext | None]:
    """Weigh what the request's fields claim. Marks are None unless it brought some or traces begin here."""
    settings = route.settings if route is not None else tables.settings
    forwarding_fields = fields.forwarding_fields
    origin = origin_of(arrival, host, forwarding_fields, tables.trusted, forwarded=settings.forwarded)
    tracing = tables.settings.tracing
    if not forwarding_fields and not tracing:
        return origin, None
    trace = read_trace(forwarding_fields)
    if origin.request_id is None and trace is None and not tracing:
        return origin, None
    return origin, TraceContext(origin.request_id, trace, tracing)


def upstream_fields(
    route: Route | None, version: int, host: bytes | None, fields: RequestFields, origin: Origin, counters: Counters
) -> bytes:
    """The fields that the upstream is sent of a request that came by HTTP/1.`version`, or by HTTP/2.

    Raises `ExchangeError` for a request that was sent on by this route before.
    """
    if route is None:
        return upstream_block(fields, host, origin.lines)
    route.via.check(fields.via)
    more = route.via.lines[version]
    if fields.unusual:
        passed, dropped = route.unusual.sort(fields)
        more = b"".join(line + CRLF for line in passed) + more
        counters.fields_dropped(len(dropped))
        for name in dropped:
            route.warn_of_dropped(name)
    return upstream_block(fields, route.host if host is None else host, origin.lines, more)


def socket_names(sock: Socket | TlsSocket) -> tuple[object, object]:
    """The names of the client's end of a connection and of ours. Raises `ClientGone`."""
    try:
        return sock.getpeername(), sock.getsockname()
    except OSError as error:
        raise ClientGone from error
