"""Handshakes that do not come to an end."""

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import gevent
import pytest

from proxy.downstream.frontend import Frontend
from proxy.downstream.tls_handshake import Handshakes, Validation
from proxy.exchange.context import ExchangeContext, Waiting
from proxy.exchange.route import Tables
from proxy.limits import Limits
from proxy.net.certificate_set import CertificateSet
from proxy.net.certificates import read_pair, self_signed
from proxy.net.splice import Pipes
from proxy.net.tls_contexts import ACME_TLS, TlsContexts, validation_context
from proxy.observe.accesslog import AccessLog
from proxy.observe.log_formats import Combined
from proxy.observe.metrics import Board
from proxy.settings import Settings
from proxy.wire.fields import RequestIds
from proxy.wire.request_line import HeadLimits
from tests.proxy.authority import Authority
from tests.proxy.net.loop import Loop, in_loop, until
from tests.proxy.net.tls_client import HOST, hello_of, recut


class Listening:
    """A front behind a door, in this process' loop."""

    def __init__(
        self, loop: Loop, authority: Authority, validation: Validation | None = None, *, waits: bool = False
    ) -> None:
        self.loop = loop
        self.counters = Board().counters(0)
        self.log = AccessLog(None, Combined(), lambda _count: None)
        context = ExchangeContext(
            loop.hub, loop.deadlines, Pipes(), memoryview(bytearray(1 << 17)), self.counters, self.log, RequestIds(),
            {}, Waiting(), Limits(16, 1).worker(0))  # fmt: skip
        tls_contexts = TlsContexts()
        tls_contexts.install(CertificateSet((read_pair(*authority.issue(HOST)),)))
        tables = Tables(Settings(workers=1), HeadLimits(4094, 8190, 100, 32768), [])
        self.front = Frontend(
            tables, context, Handshakes(tls_contexts, validation, validation_waits=waits).begin, b"https", b"443"
        )

    def accept(self) -> socket.socket:
        """The client's end of a new connection."""
        near, far = socket.socketpair()
        near.setblocking(False)
        self.front.accept(near, "127.0.0.1")
        return far


@in_loop
def test_a_handshake_that_takes_too_long_is_ended_and_counted(loop: Loop, authority: Authority) -> None:
    listening = Listening(loop, authority)
    with listening.accept() as silent, listening.accept() as halfway:
        halfway.sendall(hello_of(HOST))
        halfway.settimeout(0)
        while not received(halfway):
            gevent.sleep(0)
        assert len(listening.front.connections) == 2
        assert listening.counters.open_connections() == 2
        for handshake in listening.front.connections:
            handshake.deadline = -1.0
        loop.deadlines.sweep()
        silent.settimeout(5)
        assert silent.recv(1) == b""
    assert not listening.front.connections
    assert not loop.deadlines.streams
    assert listening.counters.open_connections() == 0


@in_loop
def test_handshakes_make_room_as_idle_connections_do(loop: Loop, authority: Authority) -> None:
    listening = Listening(loop, authority)
    ends = [listening.accept() for _ in range(3)]
    assert listening.front.shed(2) == 2
    assert len(listening.front.connections) == 1
    assert listening.front.shed() == 1
    assert not listening.front.connections
    for end in ends:
        end.close()


@pytest.mark.parametrize("cuts", [(), (100,), (1,), (1, 2, 3, 4), range(1, 400, 3)], ids=len)
@pytest.mark.parametrize("together", [True, False], ids=["at once", "byte by byte"])
@in_loop
def test_client_hello_in_several_records_is_answered(
    loop: Loop, authority: Authority, cuts: Sequence[int], *, together: bool
) -> None:
    """Also where the gateway looks for an authority's challenge in it first."""
    listening = Listening(loop, authority, validation=lambda _name: None)
    said = recut(hello_of(HOST), cuts)
    with listening.accept() as client:
        client.settimeout(0)
        for piece in [said] if together else [said[at : at + 1] for at in range(len(said))]:
            until(lambda piece=piece: sent(client, piece))
        until(lambda: received(client)[:1] == b"\x16")


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "from a shared directory"])
@in_loop
def test_a_challenge_in_several_records_is_answered(
    loop: Loop, authority: Authority, tmp_path: Path, *, waits: bool
) -> None:
    pair = self_signed((HOST,))
    file = tmp_path / "proof.pem"
    file.write_bytes(pair.key + pair.chain)
    asked: list[str] = []

    def validation(name: str) -> ssl.SSLContext:
        asked.append(name)
        if waits:
            gevent.sleep(0)
        return validation_context(file)

    listening = Listening(loop, authority, validation, waits=waits)
    for cuts in ([], [7], [1, 60, 61]):
        with listening.accept() as client:
            client.settimeout(0)
            client.sendall(recut(hello_of(HOST, ACME_TLS), cuts))
            until(lambda: received(client)[:1] == b"\x16")
    assert asked == [HOST] * 3


def sent(sock: socket.socket, data: bytes) -> bool:
    try:
        return sock.send(data) == len(data)
    except BlockingIOError:
        return False


def received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except BlockingIOError:
        return b""
