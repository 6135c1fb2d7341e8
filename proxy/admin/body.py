"""The body of a command."""

from dataclasses import replace

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.downstream import Downstream
from proxy.exchange.request import Request
from proxy.net.spool import Spool
from proxy.settings import Settings

MOST = 16 << 10  # bytes


def admin_body(downstream: Downstream, request: Request, settings: Settings) -> bytes:
    """Read it, within bounds of its own: in memory, and soon. Raises ExchangeError or ClientGone."""
    if not request.fields.has_body:
        return b""
    bounded = replace(
        settings, max_body=MOST, body_memory=MOST, body_timeout=min(10.0, settings.body_timeout), request_buffering=True
    )
    try:
        downstream.read_body(request, bounded)
    except ExchangeError as error:
        if error.failure is errors.BODY_TOO_LARGE:
            raise ExchangeError(errors.BODY_TOO_LARGE, f"a command has at most {MOST} bytes") from None
        raise
    body = request.body
    if body is None or isinstance(body, bytes):
        return body or b""
    if isinstance(body, Spool):
        body.close()
    raise ExchangeError(errors.BODY_TOO_LARGE, "send a command with its Content-Length")
