"""What a route changes: in requests on their way to the upstream, in answers on their way back."""

import logging

from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.filters.compression import Compression, restored
from proxy.filters.cors import Cors
from proxy.filters.header_fields import FieldRewrite, RequestFieldRewrite
from proxy.settings import Settings
from proxy.settings.pages import ErrorPages, load_pages
from proxy.wire.head import CRLF
from proxy.wire.local_response import own_answer
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead
from proxy.wire.target import without_prefix

log = logging.getLogger("gunicorn.error.proxy")


def build_edits(settings: Settings, prefix: bytes) -> "Rewrite | None":
    """A route's edits, or None where it changes nothing. `prefix` is the path it matches."""
    wanted = (
        settings.strip_prefix or settings.set_request_fields or settings.remove_request_fields
        or settings.set_response_fields or settings.remove_response_fields or settings.cors_origins
        or settings.compress or settings.error_pages or settings.maintenance_page or settings.hsts
    )  # fmt: skip
    return Rewrite(settings, prefix) if wanted else None


def cors_of(settings: Settings) -> Cors | None:
    """What the route says of pages of other origins."""
    if not settings.cors_origins:
        return None
    return Cors(
        settings.cors_origins,
        settings.cors_methods,
        settings.cors_fields,
        credentials=settings.cors_credentials,
        max_age=settings.cors_max_age,
    )


class Rewrite:
    """One route's. Heads that came in stay as they are: each edit makes a new one."""

    def __init__(self, settings: Settings, prefix: bytes) -> None:
        self._request_changes = RequestFieldRewrite(
            settings.set_request_fields, settings.remove_request_fields, prefix, settings.upstream_host
        )
        self._response_changes = FieldRewrite(settings.set_response_fields, settings.remove_response_fields)
        hsts = (("Strict-Transport-Security", f"max-age={settings.hsts:.0f}"),) if settings.hsts else ()
        self._secure_changes = FieldRewrite(hsts, ())  # RFC 6797 section 7.2: never in an answer without TLS
        self._prefix = prefix.rstrip(b"/") if settings.strip_prefix else b""
        self._cors = cors_of(settings)
        self._compression = Compression(settings.compress_types) if settings.compress else None
        try:
            self._pages = load_pages(settings.error_pages, settings.maintenance_page)
        except ValueError as problem:
            # They were good when the settings were checked; a page that vanished since must not end the worker.
            log.warning("error pages not loaded: %s", problem)
            self._pages = ErrorPages({})

    def outgoing(self, request: Request) -> Request:
        """The request as the upstream gets it."""
        lines = request.block.split(CRLF)[:-1]
        target = request.target
        if self._prefix and target[:1] == b"/":
            target = without_prefix(self._prefix, target)
            lines.append(b"X-Forwarded-Prefix: " + self._prefix)
        if self._compression is not None:
            lines = [restored(line) for line in lines]
        if self._request_changes:
            lines = self._request_changes.apply(request, lines)
        return request.sent_as(target, b"".join(line + CRLF for line in lines))

    def incoming(self, request: Request, response: ResponseHead) -> tuple[ResponseHead, bytes]:
        """The upstream's answer as the client gets it, and the content coding to apply to its body."""
        response = self.own(request, response)
        if self._compression is None:
            return response, IDENTITY
        lines, coding = self._compression.choose(request.fields.lines, response)
        if lines is response.lines:
            return response, IDENTITY
        return response.with_lines(lines, sized=coding == IDENTITY), coding

    def own(self, request: Request, response: ResponseHead) -> ResponseHead:
        """An answer with what every answer of this route gets, also those that the gateway gives itself."""
        lines = response.lines
        if self._cors is not None:
            lines = self._cors.allow(request.fields.lines, lines)
        if self._response_changes:
            lines = self._response_changes.apply(lines)
        if self._secure_changes and request.scheme == b"https":
            lines = self._secure_changes.apply(lines)
        return response if lines is response.lines else response.with_lines(lines, sized=True)

    def refusal(self, request: Request, error: ExchangeError) -> tuple[ResponseHead, bytes]:
        """The gateway's own answer to a request that failed, with the route's pages."""
        response, body = own_answer(error, request.id, request.fields.accept, self._pages.page)
        return self.own(request, response), body
