"""What the kernel says of who listens where."""

import socket
from pathlib import Path

import pytest

from proxy.net.listening import fault
from proxy.settings import Address
from tests.ports import ports


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_listening_port_has_no_fault(host: str) -> None:
    with socket.create_server((host, 0)) as listener:
        assert fault(Address("127.0.0.1", listener.getsockname()[1])) == ""


def test_a_listener_for_both_versions_takes_either() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        assert [fault(Address(host, port)) for host in ("127.0.0.1", "::1")] == ["", ""]


def test_a_port_that_is_only_bound_is_a_fault() -> None:
    (port,) = ports(1)
    assert fault(Address("127.0.0.1", port)) == "nothing listens there"
    with socket.create_server(("127.0.0.2", port)):
        assert fault(Address("127.0.0.1", port)) == "nothing listens there", "another address"


def test_a_unix_socket_has_to_be_there(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    assert fault(Address(path=str(path))) == "no such socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert fault(Address(path=str(path))) == ""


def test_nothing_is_said_of_other_machines() -> None:
    assert [fault(Address("192.0.2.1", 1)), fault(Address(path="@app"))] == ["", ""]
