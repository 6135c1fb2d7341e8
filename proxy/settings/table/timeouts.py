"""How long the gateway waits."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from proxy.settings.table.row import duration, routed, wait
from proxy.settings.values import kinds


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """In seconds."""

    __slots__ = ()
    GROUP: ClassVar = "Timeouts"

    connect_timeout: Annotated[float, routed(kinds.WAIT, "longest wait for a connection to an upstream; then 504")] = (
        60.0
    )
    send_timeout: Annotated[
        float, routed(kinds.WAIT, "longest pause between two writes of a request to an upstream; then 504")
    ] = 300.0
    read_timeout: Annotated[
        float,
        routed(
            kinds.WAIT,
            "longest pause between two reads of an upstream's response; then 504, or the response is cut off if it "
            "has begun",
        ),
    ] = 300.0
    websocket_timeout: Annotated[
        float,
        routed(
            kinds.WAIT,
            "close a WebSocket, or another upgraded connection, after this long without data in either direction",
        ),
    ] = 3600.0
    websocket_ping: Annotated[
        float,
        routed(
            kinds.DURATION,
            "send a ping to the client or the application of a WebSocket from which nothing has come for this long; 0: "
            "none",
        ),
    ] = 0.0
    websocket_ping_timeout: Annotated[
        float,
        routed(
            kinds.WAIT,
            "how long nothing may come after a ping; then the WebSocket is closed with 1011 (reason ping_timeout)",
        ),
    ] = 20.0
    websocket_ping_to: Annotated[str, routed(kinds.PING_TO, "which sides of WebSockets get pings")] = "both"
    head_timeout: Annotated[float, wait("longest time for receiving a request head; then 408")] = 20.0
    body_timeout: Annotated[
        float, routed(kinds.WAIT, "longest pause between two reads of a request body; then 408")
    ] = 30.0
    keepalive_timeout: Annotated[float, duration("how long an idle client connection stays open; 0: no keep-alive")] = (
        60.0
    )
    write_timeout: Annotated[
        float, wait("longest time a client may accept no byte of a response; then it is disconnected")
    ] = 60.0
    linger_timeout: Annotated[
        float, duration("how long to read and discard what a client still sends after its last response")
    ] = 5.0
    half_close_timeout: Annotated[
        float, duration("how long the open direction of a half-closed WebSocket may be silent")
    ] = 10.0
    retry_wait: Annotated[
        float,
        routed(
            kinds.DURATION,
            "how long a request is retried while an upstream that was up before refuses connections; then 503. While "
            "it was never up: 502 at once",
            "hold",
        ),
    ] = 10.0
    graceful: Annotated[
        float, duration("how long requests in flight may take when the gateway stops", "graceful_timeout")
    ] = 30.0
    websocket_drain: Annotated[
        float, duration("period over which WebSockets are closed when the gateway stops; at most 'graceful'")
    ] = 5.0
