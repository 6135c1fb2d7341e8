"""Where requests stand: in the status, and in the log if it is asked for that much."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.proxy.admin.conftest import AdminGateway
from tests.waiting import PATIENCE, until

Start = Callable[..., AdminGateway]
GET = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(name="silent")
def _silent() -> Iterator[socket.socket]:
    """An upstream that accepts and says nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


def upstream(listener: socket.socket, *, log_level: str = "info") -> str:
    return f'upstream = "127.0.0.1:{listener.getsockname()[1]}"\nlog_level = "{log_level}"\n'


def slowest(gateway: AdminGateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.status()["slowest"]
    return found


def test_request_under_way_is_among_the_slowest_with_its_state(face: Start, silent: socket.socket) -> None:
    gateway = face(upstream(silent))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as client:
        client.sendall(GET)
        far, _ = silent.accept()
        (row,) = until(lambda: slowest(gateway), "a request that takes over a second is shown")
        assert (row["target"], row["state"], row["status"]) == ("/slow", "await", 0)
        assert row["seconds"] >= 1.0
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.recv(65536).endswith(b"ok")
        (row,) = until(lambda: [row for row in slowest(gateway) if row["state"] == "done"], "it has ended")
        assert (row["target"], row["status"]) == ("/slow", 200)
        far.close()


def test_debug_log_has_the_states_of_an_exchange(face: Start, silent: socket.socket) -> None:
    gateway = face(upstream(silent, log_level="debug"))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as client:
        client.sendall(GET)
        far, _ = silent.accept()
        gateway.wait_for("LEASE, in a greenlet")
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.recv(65536).endswith(b"ok")
        gateway.wait_for("DONE")
        client.sendall(GET)  # on a connection that stands: nothing has to wait
        gateway.wait_for("AWAIT")
        far.close()
