"""A gateway that speaks TLS, and clients that trust its authority."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from tests.proxy.gateway import Gateway, serve
from tests.proxy.net.tls_client import Client
from tests.waiting import PATIENCE


def serve_tls(directory: Path, upstream: str, *flags: str, workers: int = 1) -> Gateway:
    """A gateway with TLS at `address`, without it at `plain`, and with an admin address."""
    return serve(directory, upstream, *flags, plain=True, admin=True, workers=workers)


def connect(
    gateway: Gateway,
    context: ssl.SSLContext,
    name: str,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """A TLS connection to the gateway under this name."""
    raw = socket.create_connection(gateway.address, timeout=PATIENCE)
    return context.wrap_socket(raw, server_hostname=name, session=session)


def trusted(gateway: Gateway, context: ssl.SSLContext, name: str) -> bool:
    """Whether a client that trusts these authorities is content with the certificate for a name."""
    try:
        connect(gateway, context, name).close()
    except ssl.SSLCertVerificationError:
        return False
    return True


def serial(gateway: Gateway, context: ssl.SSLContext, name: str) -> str:
    """That of the certificate which such a client is content with."""
    with connect(gateway, context, name) as sock:
        return str((sock.getpeercert() or {})["serialNumber"])


@contextmanager
def by_hand(gateway: Gateway, context: ssl.SSLContext, name: str) -> Iterator[Client]:
    """A client that has shaken hands, whose bytes leave when the test pushes them: several records in one segment."""
    with socket.create_connection(gateway.address, timeout=PATIENCE) as raw:
        client = Client(context, raw, name)
        while True:
            try:
                client.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.push()
                client.pull()
        yield client


class Browser(HTTPSConnection):
    """Python's own client, which looks for `name` at the gateway."""

    def __init__(self, gateway: Gateway, context: ssl.SSLContext, name: str) -> None:
        super().__init__(name, gateway.port, timeout=PATIENCE, context=context)
        self._gateway = gateway
        self._trust = context

    def connect(self) -> None:
        self.sock = connect(self._gateway, self._trust, self.host)

    def ask(self, method: str, path: str, body: Any = None, **how: Any) -> tuple[int, bytes]:
        self.request(method, path, body, **how)
        answer = self.getresponse()
        return answer.status, answer.read()


def shown_serial(gateway: Gateway, context: ssl.SSLContext, name: str) -> str:
    """The serial number of the certificate that the gateway shows."""
    with connect(gateway, context, name) as sock:
        certificate = sock.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])
