"""Whom pacing is spared: sockets within the machine, where the system's default paces."""

import socket

import pytest

from proxy.net.congestion import spare_pacing

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="cannot be chosen here")


def control(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.mark.parametrize(("address", "spared"), [
    ("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("::1%lo", True),
    ("0.0.0.0", False), ("192.0.2.1", False), ("::", False), ("fe80::1%eth0", False),
])  # fmt: skip
def test_only_loopback_is_spared(address: str, spared: bool) -> None:
    with socket.socket() as sock:
        default = control(sock)
        spare_pacing(sock, address)
        assert control(sock) == (b"reno" if spared and default.startswith(b"bbr") else default)


def test_what_is_accepted_inherits_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        spare_pacing(listening, "127.0.0.1")
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                assert control(accepted) == control(listening)
                assert not control(accepted).startswith(b"bbr")
