"""A gateway that speaks TLS, and clients that trust its authority."""

import json
import re
import socket
import ssl
import urllib.request
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from tests.proxy.integration.gateway import Gateway
from tests.waiting import PATIENCE, until


class SecureGateway(Gateway):
    """A gateway with TLS on `port`, plain HTTP beside it on `plain`, and the admin address on `admin`."""

    def __init__(self, directory: Path, upstream: str, *flags: str, workers: int = 1) -> None:
        super().__init__(
            directory, upstream, "--bind-plain", "127.0.0.1:0", "--admin", "127.0.0.1:0", *flags, workers=workers
        )
        self.port, self.plain, self.admin = until(self._ports, "all listen")

    def _ports(self) -> list[int]:
        found = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", self.log)]
        return found if len(found) == 3 else []

    def admin_text(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.admin_text("/status.json")))

    def metric(self, name: str) -> float:
        found = re.search(rf"^aragora_proxy_{re.escape(name)} (\S+)$", self.admin_text("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0


def connect(
    gateway: Gateway,
    context: ssl.SSLContext,
    name: str,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """A TLS connection to the gateway under this name."""
    raw = socket.create_connection(gateway.address, timeout=PATIENCE)
    return context.wrap_socket(raw, server_hostname=name, session=session)


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
