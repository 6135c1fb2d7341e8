"""Responses that are the same for all clients."""

from collections.abc import Callable

from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.wire.fields import BODILESS


class FixedText:
    """A text from the configuration; statuses that have no body go without it."""

    def __init__(self, text: str, status: int, content_type: str) -> None:
        if status in BODILESS:
            self._response = LocalResponse(status)
        else:
            self._response = LocalResponse(status, (b"Content-Type: " + content_type.encode(),), text.encode())

    def check(self, _request: Request) -> LocalResponse:
        return self._response


_PLAIN = (b"Content-Type: text/plain; charset=utf-8", b"Cache-Control: no-store")


class GatewayHealth:
    """Whether this gateway takes requests, for load balancers that can only ask its public address."""

    def __init__(self, draining: Callable[[], bool]) -> None:
        self._draining = draining

    def check(self, _request: Request) -> LocalResponse:
        return LocalResponse(503, _PLAIN, b"draining\n") if self._draining() else LocalResponse(200, _PLAIN, b"ok\n")
