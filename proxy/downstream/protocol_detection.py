"""Telling HTTP/2 from HTTP/1 by the first bytes of a connection without TLS (RFC 9113 section 3.3)."""

from time import monotonic
from typing import Final

from proxy.downstream.accepted import AcceptedConnection, Stage
from proxy.downstream.frontend import Frontend
from proxy.downstream.h1.connection import Connection as Http1Connection
from proxy.downstream.h2.connection import Connection as Http2Connection
from proxy.net.event_loop import Watcher
from proxy.net.sockets import Socket
from proxy.wire.h2.frames import PREFACE


def detect_protocol(sock: Socket, front: Frontend, client: str, watcher: Watcher | None) -> None:
    """Serve an accepted connection in the protocol that its first bytes show."""
    AcceptedConnection(_DETECTION, front.tables.settings.first_request_timeout, sock, front, client, watcher)


def _detect(connection: AcceptedConnection) -> None:
    if not connection.receive_more():
        return
    front, client, received = connection.front, connection.client, connection.received
    start = received[: len(PREFACE)]
    if not PREFACE.startswith(start):
        watcher = connection.hand_over()
        front.resume(Http1Connection(connection.plain, front, client, watcher, received))
    elif len(start) == len(PREFACE):
        watcher = connection.hand_over()
        Http2Connection(connection.plain, front, client, watcher, received)
    else:
        connection.deadline = min(connection.deadline, monotonic() + front.tables.settings.head_timeout)


_DETECTION: Final = Stage(_detect)
