"""A route's cache as an exchange sees it: responses in the place of the upstream's, and copies of what it sends."""

from typing import Protocol

from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.wire.response import ResponseHead


class Copy(Protocol):
    """Where the body of a response is copied to while it is relayed. Raises nothing."""

    def write(self, data: bytes) -> None:
        """The next piece, without framing and content coding of the gateway's own."""

    def finish(self) -> None:
        """The body was complete."""


class Fetch(Protocol):
    """One request on its way to the upstream past the cache. Made in a greenlet, closed with its exchange."""

    @property
    def request(self) -> Request:
        """What the upstream is to be sent."""

    @property
    def response(self) -> LocalResponse | None:
        """What is sent without asking the upstream."""

    @property
    def hurries(self) -> bool:
        """Whether a request need not wait for an upstream that is down."""

    def instead(self, error: ExchangeError) -> LocalResponse | None:
        """What is sent in the place of a response that could not be had."""

    @property
    def copy(self) -> Copy | None:
        """Where the response's body is to be copied to, once its head was taken."""

    def take(self, response: ResponseHead) -> ResponseHead | LocalResponse | None:
        """What is sent for this final response: its own head, something stored, or None to ask again with `request`.

        Raises `ExchangeError`.
        """

    def set_aside(self, response: ResponseHead) -> None:
        """Something else is sent in the place of this response: others need not wait until the client has that."""

    def close(self) -> None:
        """The exchange has ended."""


class Cache(Protocol):
    """One route's."""

    def takes(self, request: Request) -> bool:
        """Whether the request concerns it."""

    def ready(self, request: Request) -> LocalResponse | None:
        """A stored response that needs no waiting. Raises `ExchangeError`."""

    def fetch(self, request: Request) -> Fetch:
        """A stored response, or how to get one. May wait. Raises `ExchangeError`."""
