"""What bytes to a peer go over: TCP or a unix socket as they are, or TLS.

The one place where the two differ. A pool opens a socket, `wrap` makes of it what its connection reads and writes, and
`establish` does what has to be done before the first request; after that nothing on this side of the exchange knows.
"""

import ssl
from typing import Final, Protocol

from proxy import errors
from proxy.errors import ExchangeError
from proxy.net.client_contexts import client_context, explained
from proxy.net.sockets import Socket
from proxy.net.stream import Stream
from proxy.net.tls_socket import TlsSocket
from proxy.settings.upstream_tls import UpstreamTls
from proxy.settings.values import Address

HTTP1: Final = ("http/1.1",)
HTTP2: Final = ("h2",)


class Transport(Protocol):
    """How one peer's connections are made."""

    def wrap(self, sock: Socket) -> Socket | TlsSocket:
        """What is read and written in the place of a socket that is about to connect."""

    def establish(self, stream: Stream, preamble: bytes, deadline: float) -> bytes:
        """Do what comes between connecting and the first request; what is left of `preamble` to be sent before that.

        Raises `DeadlinePassed`, `OSError` if the peer closes, or `ExchangeError`.
        """


class PlainTransport:
    """Bytes as they are: the preamble goes with the first request."""

    def wrap(self, sock: Socket) -> Socket:
        return sock

    def establish(self, stream: Stream, preamble: bytes, deadline: float) -> bytes:  # noqa: ARG002 - as the protocol
        return preamble


class TlsTransport:
    """TLS to the server that proves to be `name`; sessions of connections before are resumed (RFC 8446 section 2.2)."""

    def __init__(self, name: str, tls: UpstreamTls, protocols: tuple[str, ...] = HTTP1) -> None:
        self._name = name.removesuffix(".")  # RFC 6066 section 3
        self._tls = tls
        self._protocols = protocols
        self._context: ssl.SSLContext | None = None
        self._newest: TlsSocket | None = None
        """The last connection that was made: its session is asked for when another one is, because over TLS 1.3 the
        server sends it some time after the handshake."""
        self._session: ssl.SSLSession | None = None

    def wrap(self, sock: Socket) -> TlsSocket:
        if self._newest is not None:
            self._session = self._newest.session or self._session
        try:
            if self._context is None:
                self._context = client_context(self._tls, self._protocols)
            return TlsSocket(sock, self._context, server_name=self._name, session=self._session)
        except (OSError, ValueError) as error:
            raise ExchangeError(errors.UPSTREAM_TLS, str(error)) from None

    def establish(self, stream: Stream, preamble: bytes, deadline: float) -> bytes:
        tls = stream.tls
        assert tls is not None
        try:
            if preamble:
                tls.send_clear(preamble)
            while not tls.shake_hands():
                if tls.sending:
                    stream.wait_writable(deadline)
                else:
                    stream.wait_readable(deadline)
        except ConnectionResetError as error:
            fix = "if it does not speak TLS, write its address without https://, or h2c:// in place of h2://"
            raise ConnectionResetError(error.errno, f"closed during the TLS handshake; {fix}") from None
        except ssl.SSLError as error:
            self._session = None
            raise ExchangeError(errors.UPSTREAM_TLS, explained(error)) from None
        if self._protocols is HTTP2 and tls.protocol != "h2":
            raise ExchangeError(errors.UPSTREAM_TLS, "it offers no HTTP/2 (ALPN); write https:// in place of h2://")
        self._newest = tls
        return b""


def transport_of(address: Address, name: str, tls: UpstreamTls) -> Transport:
    """The transport that an address asks for. `name`: what the peer must prove to be, if not the address' host."""
    if address.scheme in ("", "h2c"):
        return PlainTransport()
    return TlsTransport(name or address.host, tls, HTTP2 if address.scheme == "h2" else HTTP1)
