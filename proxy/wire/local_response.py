"""The gateway's own error responses: small, with the cause, without internal details."""

import html
import json
from typing import Protocol

from proxy.errors import ExchangeError
from proxy.wire.negotiation import prefers_page
from proxy.wire.response import ResponseHead, local_head, status_line

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{status} {phrase}</title>
<style>:root{{color-scheme:light dark}}
body{{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}
h1{{font-size:1.3rem}}code{{font-size:.85rem;opacity:.7}}</style>
<main><h1>{status} {phrase}</h1><p>{message}.</p><p><code>{reason} · {request_id}</code></p></main>
"""


class Page(Protocol):
    """The operator's page for an error: body and content type, or None for the gateway's own."""

    def __call__(
        self, error: ExchangeError, phrase: str, request_id: bytes, *, browser: bool
    ) -> tuple[bytes, bytes] | None: ...


def error_response(
    error: ExchangeError, request_id: bytes, accept: bytes | None, page: Page | None = None
) -> tuple[ResponseHead, bytes]:
    """Head and body of an error response; HTML for a browser, else JSON.

    The reason is in the body and, whatever its form, in the Proxy-Status field (RFC 9209 section 2.1.4).
    """
    failure = error.failure
    phrase = status_line(failure.status, b"")[13:-2].decode("ascii")
    browser = prefers_page(accept)
    own = page(error, phrase, request_id, browser=browser) if page is not None else None
    if own is None:
        own = _page(error, phrase, request_id) if browser else _object(error, request_id)
    body, content_type = own
    fields = [
        b"Content-Type: " + content_type,
        b"Cache-Control: no-store",
        b"X-Content-Type-Options: nosniff",
        b"X-Request-ID: " + request_id,
        b'Proxy-Status: aragora-proxy; details="%s"' % failure.reason.encode(),
    ]
    given = {line.partition(b":")[0] for line in error.fields}
    if failure.retry_after and b"Retry-After" not in given:
        fields.append(b"Retry-After: %d" % failure.retry_after)
    if failure.status == 405 and b"Allow" not in given:
        fields.append(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    return local_head(failure.status, [*fields, *error.fields], len(body)), body


def _object(error: ExchangeError, request_id: bytes) -> tuple[bytes, bytes]:
    failure = error.failure
    document = {"code": failure.reason, "message": error.client_message, "trace_id": request_id.decode("latin-1")}
    return json.dumps({"error": document}).encode() + b"\n", b"application/json"


def _page(error: ExchangeError, phrase: str, request_id: bytes) -> tuple[bytes, bytes]:
    page = _PAGE.format(
        status=error.failure.status,
        phrase=phrase,
        message=html.escape(error.client_message),
        reason=error.failure.reason,
        request_id=html.escape(request_id.decode("latin-1")),
    )
    return page.encode(), b"text/html; charset=utf-8"
