"""The PROXY protocol header before a connection's first byte: the client's address, as a trusted proxy gives it."""

import socket
from typing import Final

from proxy import errors
from proxy.downstream.accepted import AcceptedConnection, Stage
from proxy.downstream.frontend import Frontend
from proxy.net.event_loop import Watcher
from proxy.net.sockets import Socket
from proxy.wire.proxy_protocol import MAX_V2, ProxyHeaderError, parse_header


def expect_proxy_header(sock: Socket, front: Frontend, peer: str, watcher: Watcher | None) -> None:
    """Serve an accepted connection for the client that its header names.

    Only trusted proxies may connect: any other peer that can reach the port could claim to be anybody.
    """
    connection = AcceptedConnection(_HEADER, front.tables.settings.head_timeout, sock, front, peer, watcher)
    if not front.tables.trusted.trusts(peer):
        connection.reject(errors.NOT_TRUSTED)


def _read(connection: AcceptedConnection) -> None:
    """Take the header off the socket to the byte, and nothing more."""
    sock, received = connection.plain, connection.received
    try:
        seen = sock.recv(MAX_V2, socket.MSG_PEEK)
        if not seen:
            connection.close()
            return
        found = parse_header(received + seen)
        # While it is incomplete all that has arrived belongs to it.
        size = len(seen) if found is None else found[1] - len(received)
        connection.received += sock.recv(size)
    except BlockingIOError:
        return
    except OSError:
        connection.close()
        return
    except ProxyHeaderError:
        connection.reject(errors.PROXY_HEADER)
        return
    if found is not None:
        endpoints, _ = found
        watcher = connection.hand_over()
        connection.front.admit(sock, connection.client if endpoints is None else endpoints.source, watcher)


_HEADER: Final = Stage(_read, timed_out=errors.PROXY_HEADER_TIMEOUT)
