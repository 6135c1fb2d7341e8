"""Why a peer does not answer what it is asked: whether it speaks TLS although its address does not say so.

Some servers that expect TLS close the connection on the first byte of plain HTTP, others respond with 400 and close.
Neither proves it, so the peer is sent what a TLS client begins with, once.
"""

import ssl
from time import monotonic

import gevent

from proxy.errors import DeadlinePassed, ExchangeError
from proxy.log import log
from proxy.upstream.pool import ConnectRefused, Pool
from proxy.wire.response import ResponseHead

_PATIENCE = 5.0
"""Seconds for connecting and for the answer, each."""

_TLS = (b"\x16\x03", b"\x15\x03")
"""Records of TLS begin with their type, handshake or alert, and the version (RFC 8446 section 5.1)."""


def is_doubtful(response: ResponseHead) -> bool:
    """Whether a server that expects TLS might have sent this head."""
    return response.status == 400 and response.close


def examine(pool: Pool) -> None:
    """Find out in the background, once, and say so in the log."""
    if not (pool.examined or pool.address.scheme or pool.address.path):
        pool.examined = True
        gevent.spawn(_examine, pool)


def _examine(pool: Pool) -> None:
    try:
        connection = pool.connect(_PATIENCE)
        try:
            connection.send_all(connection.preamble + _client_hello(), _PATIENCE)
            answer = connection.receive(monotonic() + _PATIENCE)
        finally:
            connection.close()
    except (ConnectRefused, ExchangeError, DeadlinePassed, OSError):
        return
    if answer.startswith(_TLS):
        log.warning('upstream %s speaks TLS: write "https://%s" as its address', pool.name, pool.name)


def _client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()
