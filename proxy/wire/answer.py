"""The gateway's own answers: small, honest about their cause, without a trace of the inside."""

import html
import json

from proxy.errors import ExchangeError
from proxy.wire.response import status_line

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{status} {phrase}</title>
<style>:root{{color-scheme:light dark}}
body{{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}
h1{{font-size:1.3rem}}code{{font-size:.85rem;opacity:.7}}</style>
<h1>{status} {phrase}</h1><p>{message}.</p><p><code>{reason} · {request_id}</code></p>
"""


def own_answer(error: ExchangeError, request_id: bytes, accept: bytes | None, date: bytes, *, close: bool) -> bytes:
    """A whole response, head and body; HTML for a browser, else JSON.

    The reason stands in the body and, whatever the body's form, in the Proxy-Status field (RFC 9209 section 2.1.4).
    """
    failure = error.failure
    head = status_line(failure.status, b"")
    wants_page = accept is not None and b"text/html" in accept.lower()
    body, content_type = _page(error, head, request_id) if wants_page else _object(error, request_id)
    fields = [
        b"Date: " + date,
        b"Content-Type: " + content_type,
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"X-Content-Type-Options: nosniff",
        b"X-Request-ID: " + request_id,
        b'Proxy-Status: aragora-proxy; details="%s"' % failure.reason.encode(),
    ]
    if failure.retry_after and not any(line.startswith(b"Retry-After:") for line in error.fields):
        fields.append(b"Retry-After: %d" % failure.retry_after)
    if failure.status == 405:
        fields.append(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    fields += error.fields
    if close:
        fields.append(b"Connection: close")
    return head + b"\r\n".join(fields) + b"\r\n\r\n" + body


def head_of(answer: bytes) -> bytes:
    """The answer to HEAD: the same without its body."""
    return answer[: answer.index(b"\r\n\r\n") + 4]


def _object(error: ExchangeError, request_id: bytes) -> tuple[bytes, bytes]:
    failure = error.failure
    shown = {"code": failure.reason, "message": str(error), "trace_id": request_id.decode("latin-1")}
    return json.dumps({"error": shown}).encode() + b"\n", b"application/json"


def _page(error: ExchangeError, head: bytes, request_id: bytes) -> tuple[bytes, bytes]:
    page = _PAGE.format(
        status=error.failure.status,
        phrase=head[13:-2].decode("ascii"),
        message=html.escape(str(error)),
        reason=error.failure.reason,
        request_id=html.escape(request_id.decode("latin-1")),
    )
    return page.encode(), b"text/html; charset=utf-8"
