"""Requests as steps get them."""

from proxy.exchange.request import Request
from proxy.wire.request import parse_request_fields
from proxy.wire.request_line import HeadLimits


def asked(
    target: str,
    *lines: bytes,
    method: bytes = b"GET",
    host: bytes | None = b"example.org",
    client: str = "192.0.2.1",
) -> Request:
    """A request that a front has read."""
    fields = parse_request_fields(b"\r\n".join(lines), HeadLimits())
    return Request(method, target.encode("latin-1"), 1, fields, b"", 0.0, client=client, host=host)
