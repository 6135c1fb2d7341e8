"""TLS handshakes with clients.

A handshake takes no greenlet: its socket's watcher calls back until it is done. Then the protocol that ALPN chose takes
over the connection and its watcher.

    accepted ──a TLS record──► shaking hands ──done──► a connection, with the request that came along
      │          │               │▲
      │          └──on demand──► ││ waits for a certificate, unwatched, for a minute at most
      │                          └──refused, gone, 10 s──► closed, counted
      └──anything else──► refused in plain HTTP
"""

import ssl
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

import gevent

from proxy import errors
from proxy.acme.on_demand import WAIT, OnDemand
from proxy.downstream.accepted import AcceptedConnection, Stage
from proxy.downstream.frontend import Frontend
from proxy.downstream.h1.connection import Connection as Http1Connection
from proxy.downstream.h2.connection import Connection as Http2Connection
from proxy.net.event_loop import READ, WRITE, Watcher
from proxy.net.sockets import Socket
from proxy.net.tls_contexts import ACME_TLS, TlsContexts
from proxy.net.tls_socket import TlsSocket
from proxy.wire.client_hello import ClientHelloIncomplete, parse_client_hello

_TIMEOUT: Final = 10.0
_MOST_VALIDATING: Final = 64  # connections at once that wait for an authority's challenge
_HANDSHAKE: Final = 0x16  # the first byte of a TLS connection (RFC 8446 section 5.1)

Validation = Callable[[str], ssl.SSLContext | None]
"""The context that proves to an ACME authority that a name is served here (RFC 8737), if it is asking for one."""


class Handshakes:
    """The handshakes of one listener; `begin` is the opening of its `Frontend`."""

    def __init__(
        self,
        tls_contexts: TlsContexts,
        validation: Validation | None,
        on_demand: OnDemand | None = None,
        *,
        validation_waits: bool = False,
    ) -> None:
        """`validation` is None where no certificates are obtained, `on_demand` where none are for unknown names.
        `validation_waits`: the first blocks the greenlet."""
        self._validation_waits = validation_waits
        self._validating = 0
        self._tls_contexts = tls_contexts
        self._validation = validation
        self._on_demand = on_demand
        self._waiting = Stage(_ignore, timed_out=errors.TLS_TIMEOUT)
        self._stage = Stage(self._read, timed_out=errors.TLS_TIMEOUT)

    def begin(self, sock: Socket, front: Frontend, client: str, watcher: Watcher | None) -> None:
        """Shake hands on an accepted connection."""
        AcceptedConnection(self._stage, _TIMEOUT, sock, front, client, watcher)

    def _read(self, connection: AcceptedConnection) -> None:
        tls = connection.tls
        if tls is not None:
            _advance(connection, tls)
        elif connection.receive_more():
            if connection.received[0] == _HANDSHAKE:
                self._begin_tls(connection)
            else:
                _refuse_plaintext(connection)

    def _begin_tls(self, connection: AcceptedConnection) -> None:
        context = self._tls_contexts.context
        if self._validation is not None:
            try:
                hello = parse_client_hello(connection.received)
            except ClientHelloIncomplete:
                return
            name = None if hello is None else hello.name
            proof = None
            if hello is not None and name is not None and ACME_TLS in hello.protocols:
                if self._validation_waits:
                    self._look_up(connection, name, self._validation)
                    return
                proof = self._validation(name)
            if proof is None and name is not None and self._on_demand is not None:
                self._begin_with_name(connection, name, self._on_demand)
                return
            context = proof or context
        self._shake_hands(connection, context)

    def _look_up(self, connection: AcceptedConnection, name: str, validation: Validation) -> None:
        """Shake hands with what has to be waited for; more connections than expected get none of it."""
        if self._validating >= _MOST_VALIDATING:
            self._shake_hands(connection, self._tls_contexts.context)
            return
        self._validating += 1
        self._park(connection)
        gevent.spawn(self._look, connection, name, validation)

    def _look(self, connection: AcceptedConnection, name: str, validation: Validation) -> None:
        try:
            proof = validation(name)
        finally:
            self._validating -= 1
        connection.hub.loop.run_callback(self._go_on, connection, proof or self._tls_contexts.context)

    def _park(self, connection: AcceptedConnection) -> None:
        """Read nothing until `_go_on`, for a minute at most."""
        connection.read_watcher.stop()
        connection.stage = self._waiting
        connection.deadline = monotonic() + WAIT

    def _begin_with_name(self, connection: AcceptedConnection, name: str, on_demand: OnDemand) -> None:
        """Shake hands under a name that may have to get its certificate first."""
        contexts = self._tls_contexts
        if contexts.knows(name):
            self._shake_hands(connection, contexts.context)
        elif on_demand.serves(name):
            self._shake_hands(connection, contexts.on_demand_context)
        elif on_demand.request(name, connection.client, partial(self._resume, connection)):
            self._park(connection)
        else:
            self._shake_hands(connection, contexts.refusing())

    def _resume(self, connection: AcceptedConnection, served: bool) -> None:
        """The wait for a certificate is over: go on in the loop, where protocols begin."""
        contexts = self._tls_contexts
        context = contexts.on_demand_context if served else contexts.refusing()
        connection.hub.loop.run_callback(self._go_on, connection, context)

    def _go_on(self, connection: AcceptedConnection, context: ssl.SSLContext) -> None:
        if connection.closed:
            return
        connection.stage = self._stage
        connection.deadline = monotonic() + _TIMEOUT
        connection.read_watcher.start(connection.on_readable)
        self._shake_hands(connection, context)

    def _shake_hands(self, connection: AcceptedConnection, context: ssl.SSLContext) -> None:
        connection.sock = connection.tls = tls = TlsSocket(connection.plain, context, connection.received)
        connection.received = b""
        _advance(connection, tls)


def _ignore(_connection: AcceptedConnection) -> None:
    """Nothing is read while a connection waits: its watcher is stopped."""


def _advance(connection: AcceptedConnection, tls: TlsSocket) -> None:
    try:
        done = tls.shake_hands()
    except OSError:
        connection.reject(errors.TLS_HANDSHAKE)
        return
    _wait_for(connection, WRITE if not done and tls.sending else READ)
    if done:
        _serve(connection, tls)


def _wait_for(connection: AcceptedConnection, events: int) -> None:
    watcher = connection.read_watcher
    if watcher.events != events:
        watcher.stop()
        watcher.events = events
        watcher.start(connection.on_readable)


def _serve(connection: AcceptedConnection, tls: TlsSocket) -> None:
    """The handshake is done: leave the connection to the protocol that was agreed on."""
    protocol, front = tls.protocol, connection.front
    if protocol == ACME_TLS:
        connection.close()  # RFC 8737 section 3: nothing is sent after the handshake
        return
    watcher = connection.hand_over()
    front.context.counters.handshake(resumed=tls.resumed)
    if protocol == "h2":
        Http2Connection(tls, front, connection.client, watcher)
        return
    http1 = Http1Connection(tls, front, connection.client, watcher)
    if tls.readable:
        http1.on_readable()


def _refuse_plaintext(connection: AcceptedConnection) -> None:
    watcher = connection.hand_over()
    front, received = connection.front, connection.received
    front.resume(Http1Connection(connection.plain, front, connection.client, watcher, received, errors.TLS_EXPECTED))
