"""What the admin address says while its worker ends."""

import contextlib
import http.client
import json
import signal
import socket
from collections.abc import Callable

from tests.proxy.admin.conftest import AdminGateway
from tests.proxy.gateway import Address
from tests.waiting import PATIENCE, until

TOML = """\
bind = "127.0.0.1:0"
admin = "127.0.0.1:0"
access_log = "access.log"
workers = 1
graceful = "30s"
"""

Start = Callable[..., AdminGateway]
HEAD = b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n"


def refused(address: Address) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(address, timeout=PATIENCE):
        return False
    return True


def test_a_worker_without_listeners_says_where_they_were(face: Start) -> None:
    gateway = face('respond = "x"\n', toml=TOML, workers=1)
    with socket.create_connection(gateway.admin, timeout=PATIENCE) as client:
        client.sendall(HEAD + b"\r\n")
        response = http.client.HTTPResponse(client)
        response.begin()
        before = json.load(response)["listeners"]
        client.sendall(HEAD)
        assert gateway.status()  # the worker that answers has read what came before
        gateway.signal(signal.SIGTERM)
        until(lambda: refused(gateway.address), "closed listeners")
        client.sendall(b"\r\n")
        response = http.client.HTTPResponse(client)
        response.begin()
        assert response.status == 200
        assert json.load(response)["listeners"] == before
        assert {one["role"] for one in before} >= {"front", "admin"}
