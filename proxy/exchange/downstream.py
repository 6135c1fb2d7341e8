"""The client's side of an exchange, whatever its protocol: what it offers, and what it learns."""

from typing import NamedTuple, Protocol

from proxy.exchange.request import Request
from proxy.exchange.tunnel_side import Side
from proxy.exchange.tunnel_states import TunnelState
from proxy.net.stream import Sink
from proxy.settings import Settings
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.response import ResponseHead


class OpenTunnel(Protocol):
    """An upgraded connection, whatever the client's protocol."""

    state: TunnelState

    @property
    def closed(self) -> bool: ...

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes to the client and to the upstream so far."""

    def shut(self, code: int, patience: float) -> None:
        """Send close frames as soon as each direction is between two frames; end after `patience` seconds."""


class TunnelOrigin(NamedTuple):
    """The request that an open tunnel began with."""

    client: str
    target: bytes
    upstream: str
    since: float  # unix time
    protocol: bytes


class Downstream(Protocol):
    """The client's side of an exchange, whatever its protocol."""

    sent: int
    """Bytes that the client was sent, heads included."""

    @property
    def begun(self) -> bool:
        """Whether the client may have some of the final response."""

    @property
    def private(self) -> UpstreamConnection | None:
        """An upstream connection that only this client may use."""

    @property
    def sink(self) -> Sink:
        """Where a body of known length is written to as it is."""

    def names(self) -> tuple[object, object]:
        """The socket names of the client's end of its connection and of ours. Raises `ClientGone`."""

    def keep_private(self, connection: UpstreamConnection) -> None:
        """Keep an upstream connection that only this client may use, or close it."""

    def take_private(self) -> UpstreamConnection | None:
        """Take it back, if there is one."""

    def take_body(self, request: Request, settings: Settings) -> bool:
        """Set `request.body` and its length if all of it is here; whether nothing of it is still to come."""

    def read_body(self, request: Request, settings: Settings) -> None:
        """Set `request.body` and its length: read to the end, or a stream where buffering is off.

        Raises `ExchangeError` or `ClientGone`.
        """

    def resume_exchange(self) -> None:
        """The exchange, which the event loop's callbacks drove, has to wait: go on with it in a greenlet."""

    def exchange_ended(self) -> None:
        """The exchange, which the event loop's callbacks drove, has ended and is recorded."""

    def inform(self, response: ResponseHead) -> None:
        """Pass on a 1xx response."""

    def begin(self, response: ResponseHead, length: int | None, body: bytes, *, stream: bool) -> bytes:
        """Send the head, and `body` with it; returns what the client did not take at once, for the sink.

        `length` is the Content-Length to announce; `stream` announces a body of unknown length instead.
        """

    def framed(self, data: bytes) -> bytes:
        """What the sink is sent for a piece of a body of unknown length, once the response has begun."""

    def end(self, trailers: list[bytes]) -> None:
        """A body of unknown length is complete. Raises `ExchangeError` or `ClientGone`."""

    def break_off(self) -> None:
        """The response cannot be completed: the client gets what was sent, and can tell that it is incomplete."""

    def abort(self) -> None:
        """The response cannot be completed, and the client does not take what was sent."""

    def upgrade(self, response: ResponseHead) -> tuple[Side, bytes]:
        """Accept the upgrade: the client's side of the tunnel, and what it has sent already.

        Raises `ExchangeError` or `ClientGone`.
        """
