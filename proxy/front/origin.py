"""Whom a request is made for and what it is told from others by, the same for all protocols of clients."""

from proxy.route import Route, Tables
from proxy.wire.forwarding import Arrival, Origin, origin_of
from proxy.wire.request import RequestFields
from proxy.wire.tracing import Marks, read_trace


def read_origin(
    tables: Tables, route: Route | None, arrival: Arrival, host: bytes | None, fields: RequestFields
) -> tuple[Origin, Marks | None]:
    """Weigh what the request's fields claim. Marks are None unless it brought some or traces begin here."""
    settings = route.settings if route is not None else tables.settings
    claims = fields.claims
    origin = origin_of(arrival, host, claims, tables.trusted, forwarded=settings.forwarded)
    tracing = tables.settings.tracing
    if not claims and not tracing:
        return origin, None
    trace = read_trace(claims)
    if origin.request_id is None and trace is None and not tracing:
        return origin, None
    return origin, Marks(origin.request_id, trace, tracing)
