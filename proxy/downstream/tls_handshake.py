"""The client's side of TLS: handshakes, and HTTP/1 connections over it.

A handshake takes no greenlet: its socket's watcher calls it back until it is done, then the connection that ALPN chose
takes its place, and its watcher with it.

    accepted ──a TLS record──► shaking hands ──done──► a connection, with the request that came along
      │                          └──refused, gone, 10 s──► closed, counted
      └──anything else──► told so in plain HTTP
"""

import ssl
from collections.abc import Callable
from time import monotonic

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.downstream.h1.connection import Connection
from proxy.downstream.h2.connection import Connection as Http2Connection
from proxy.net.event_loop import READ, WRITE, Watcher
from proxy.net.sockets import HEAD_RECEIVE_SIZE, Socket
from proxy.net.tls_contexts import ACME_TLS, TlsContexts
from proxy.net.tls_socket import TlsSocket
from proxy.wire.client_hello import Hello, HelloIncomplete, parse_hello

_TIMEOUT = 10.0
_HANDSHAKE = 0x16  # the first byte of a TLS connection (RFC 8446 section 5.1)

Validation = Callable[[str], ssl.SSLContext | None]
"""The context that proves to an ACME authority that a name is served here (RFC 8737), if it is asking for one."""


class Handshakes:
    """What the handshakes of one listener share; `begin` is the protocol of its `Frontend`."""

    def __init__(self, tls_contexts: TlsContexts, validation: Validation | None) -> None:
        self.tls_contexts = tls_contexts
        self.validation = validation
        """None where no certificates are obtained."""

    def begin(self, sock: Socket, front: Frontend, client: str) -> None:
        Handshake(sock, front, client, self)


class Handshake:
    """One connection until it is known what will be spoken on it."""

    __slots__ = ("_client", "_front", "_received", "_shared", "_sock", "_tls", "_watcher", "deadline")

    parked = True
    detached = False

    def __init__(self, sock: Socket, front: Frontend, client: str, shared: Handshakes) -> None:
        self._sock: Socket | None = sock
        self._front = front
        self._client = client
        self._shared = shared
        self._received = b""
        self._tls: TlsSocket | None = None
        self.deadline = monotonic() + _TIMEOUT
        self._watcher: Watcher = front.context.hub.loop.io(sock.fileno(), READ)
        self._watcher.start(self._first_bytes)
        front.connections.add(self)

    def exchanges(self) -> tuple[()]:
        return ()

    @property
    def closed(self) -> bool:
        return self._sock is None

    def expire(self) -> None:
        self._fail(errors.TLS_TIMEOUT.reason)

    def _fail(self, reason: str) -> None:
        self._front.context.counters.rejected(reason)
        self.close()

    def close(self) -> None:
        sock = self._sock
        if sock is not None:
            self._leave()
            self._watcher.stop()
            self._watcher.close()
            self._front.ended(sock.fileno())
            (self._tls or sock).close()

    def _leave(self) -> None:
        """Leave the socket and its watcher to whoever goes on with them."""
        self._sock = None
        self._front.connections.discard(self)

    def _first_bytes(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(HEAD_RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:  # a probe of whether the port is open, or a browser's connection in reserve: no failure
            self.close()
            return
        self._received += data
        if self._received[0] != _HANDSHAKE:
            self._refuse_plain()
            return
        context = self._shared.tls_contexts.context
        if self._shared.validation is not None:
            try:
                hello = parse_hello(self._received)
            except HelloIncomplete:
                return
            context = self._validating(hello, self._shared.validation) or context
        self._tls = TlsSocket(self._sock, context, self._received)
        self._received = b""
        self._watcher.callback = self._go_on
        self._go_on()

    def _validating(self, hello: Hello | None, validation: Validation) -> ssl.SSLContext | None:
        if hello is None or ACME_TLS not in hello.protocols or hello.name is None:
            return None
        return validation(hello.name)

    def _go_on(self) -> None:
        tls = self._tls
        assert tls is not None
        try:
            done = tls.shake_hands()
        except OSError:
            self._fail(errors.TLS_HANDSHAKE.reason)
            return
        self._wait_for(WRITE if not done and tls.sending else READ)
        if done:
            self._succeed(tls)

    def _wait_for(self, events: int) -> None:
        if self._watcher.events != events:
            self._watcher.stop()
            self._watcher.events = events
            self._watcher.start(self._go_on)

    def _succeed(self, tls: TlsSocket) -> None:
        protocol = tls.protocol
        if protocol == ACME_TLS:
            self.close()  # RFC 8737 section 3: nothing is said after the handshake
            return
        self._leave()
        self._front.context.counters.handshake(resumed=tls.resumed)
        if protocol == "h2":
            Http2Connection(tls, self._front, self._client, watcher=self._watcher)
            return
        connection = Connection(tls, self._front, self._client, self._watcher)
        if tls.readable:
            connection.on_readable()

    def _refuse_plain(self) -> None:
        assert self._sock is not None
        connection = Connection(
            self._sock, self._front, self._client, self._watcher, self._received, errors.TLS_EXPECTED
        )
        self._leave()
        self._front.resume(connection)
