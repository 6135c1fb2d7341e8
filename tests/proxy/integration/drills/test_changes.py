"""Everything that may change at run time, changed under load with a hundred WebSockets open: nothing is lost."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.commands.client import PARTLY, SUCCESS
from tests.proxy.admin.conftest import AdminGateway
from tests.proxy.authority import Authority
from tests.proxy.integration.drills.conftest import Origin
from tests.proxy.integration.drills.load import Load, load
from tests.proxy.integration.drills.sockets import WebSocket
from tests.waiting import until

pytestmark = pytest.mark.drill
HOST = "drill.example"


@pytest.fixture
def second() -> Iterator[Origin]:
    """Another instance of the application."""
    running = Origin()
    yield running
    running.kill()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def gateway(origin: Origin, second: Origin, authority: Authority, tmp_path: Path) -> Iterator[AdminGateway]:
    """Two workers before two peers, with TLS at its first address and without at its second."""
    cert, key = authority.issue(HOST)
    running = AdminGateway(
        tmp_path,
        f"""\
bind = "127.0.0.1:0"
bind_plain = "127.0.0.1:0"
admin = "127.0.0.1:0"
https_redirect = false
tls_cert = "{cert}"
tls_key = "{key}"
workers = 2
access_log = "off"
upstream = ["{origin.address}", "{second.address}"]
""",
    )
    try:
        _secure, running.address, running.admin = running.announced(3)
        until(lambda: len(running.workers()) == 2, "workers")
        yield running
    finally:
        running.close()


def serial(port: int, trust: ssl.SSLContext) -> str:
    """The serial number of the certificate that is served now."""
    with ExitStack() as stack:
        tunnel = WebSocket(port, trust, HOST)
        stack.callback(tunnel.close)
        assert isinstance(tunnel.sock, ssl.SSLSocket)
        certificate = tunnel.sock.getpeercert()
        assert certificate
        return str(certificate["serialNumber"])


def change(gateway: AdminGateway, *rewrite: tuple[str, str]) -> None:
    """Edit the file and have it read again."""
    text = gateway.config.read_text()
    for old, new in rewrite:
        assert old in text
        text = text.replace(old, new)
    gateway.configure(text)
    assert gateway.run("reload").returncode == 0


def test_runtime_changes_lose_no_request_or_websocket(
    gateway: AdminGateway, origin: Origin, second: Origin, authority: Authority
) -> None:
    trust = authority.trust()
    _host, secure = gateway.listening()[0]
    tunnels = [WebSocket(secure, trust, HOST) if number % 2 else WebSocket(gateway.port) for number in range(100)]
    before = serial(secure, trust)

    def order(code: int, *arguments: str) -> None:
        done = gateway.run(*arguments)
        assert done.returncode == code, done

    route = '[[route]]\nname = "new"\npath = "/new"\nrespond = "new"\n'
    switch = ("switch", "default", "--drain-timeout", "0.5")
    steps: list[Callable[[], object]] = [
        lambda: order(SUCCESS, "drain", origin.address),
        lambda: order(SUCCESS, "undrain", origin.address),
        lambda: order(PARTLY, *switch, second.address),  # the first still has its WebSockets
        lambda: order(SUCCESS, *switch, origin.address, second.address),
        lambda: change(gateway, ("workers = 2\n", 'workers = 2\nmax_body = "1k"\n')),
        lambda: change(gateway, ("upstream = [", "reuse_unsafe = 0\nupstream = [")),
        lambda: change(gateway, ("]\n", f"]\n{route}")),
        lambda: (authority.issue(HOST), change(gateway)),
    ]
    running: Load
    with load(gateway.port) as running:
        for number, step in enumerate(steps):
            step()
            assert all(tunnel.echoes(b"%d" % number) for tunnel in tunnels), f"a WebSocket was lost in step {number}"
    assert running.account.clean, running.account
    assert gateway.get("/new") == (200, "new")
    assert serial(secure, trust) != before
    for tunnel in tunnels:
        tunnel.close()
