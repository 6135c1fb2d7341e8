"""Requests as steps get them."""

from proxy.upstream.request import Request
from proxy.wire.request import HeadLimits, parse_request_fields


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
