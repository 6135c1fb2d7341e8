"""Responses whose text the configuration has."""

from collections.abc import Callable

from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.filters.template import Template
from proxy.wire.fields import BODILESS


class FixedText:
    """A text from the configuration; statuses that have no body go without it."""

    def __init__(self, template: Template, status: int, content_type: str) -> None:
        self._template = template
        self._response: LocalResponse | None = None
        """Of a text without placeholders."""
        self._status = status
        self._fields = (b"Content-Type: " + content_type.encode(),)
        if status in BODILESS:
            self._response = LocalResponse(status)
        elif not template.names:
            self._response = LocalResponse(status, self._fields, template.text.encode())

    def check(self, request: Request) -> LocalResponse:
        if self._response is not None:
            return self._response
        return LocalResponse(self._status, self._fields, self._template.filled(request, b"") or b"")


_PLAIN = (b"Content-Type: text/plain; charset=utf-8", b"Cache-Control: no-store")


class GatewayHealth:
    """Whether this gateway takes requests, for load balancers that can only ask its public address."""

    def __init__(self, draining: Callable[[], bool]) -> None:
        self._draining = draining

    def check(self, _request: Request) -> LocalResponse:
        return LocalResponse(503, _PLAIN, b"draining\n") if self._draining() else LocalResponse(200, _PLAIN, b"ok\n")
