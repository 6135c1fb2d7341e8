"""Handshakes that do not come to an end."""

import socket

import gevent

from proxy.front.front import Front
from proxy.front.secure import Handshakes
from proxy.limits import Limits
from proxy.net.certificates import read_pair
from proxy.net.door import FrontDoor, Keyring
from proxy.net.splice import Pipes
from proxy.observe.accesslog import AccessLog
from proxy.observe.metrics import Board
from proxy.resources import Resources, Tally
from proxy.route import Tables
from proxy.settings import Settings
from proxy.wire.fields import RequestIds
from proxy.wire.request import HeadLimits
from tests.proxy.net.loop import Loop, run
from tests.proxy.tls.authority import Authority
from tests.proxy.tls.wire import HOST, hello_of


class Listening:
    """A front behind a door, in this process' loop."""

    def __init__(self, loop: Loop, authority: Authority) -> None:
        self.loop = loop
        self.counters = Board().counters(0)
        self.log = AccessLog("off", "combined", lambda _count: None, lambda *_: None)
        resources = Resources(
            loop.hub, loop.deadlines, Pipes(), memoryview(bytearray(1 << 17)), self.counters, self.log, RequestIds(),
            set(), Tally(), Limits(16, 1).worker(0))  # fmt: skip
        door = FrontDoor()
        door.furnish(Keyring((read_pair(*authority.issue(HOST)),)))
        tables = Tables(Settings(workers=1), HeadLimits(4094, 8190, 100, 32768), [])
        self.front = Front(tables, resources, lambda *_: None, Handshakes(door, None).begin, b"https", b"443")

    def accept(self) -> socket.socket:
        near, far = socket.socketpair()
        near.setblocking(False)
        self.front.accept(near, "127.0.0.1")
        return far


def test_a_handshake_that_takes_too_long_is_ended_and_counted(authority: Authority) -> None:
    def test(loop: Loop) -> None:
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

    run(test)


def test_handshakes_make_room_as_idle_connections_do(authority: Authority) -> None:
    def test(loop: Loop) -> None:
        listening = Listening(loop, authority)
        ends = [listening.accept() for _ in range(3)]
        assert listening.front.shed(2) == 2
        assert len(listening.front.connections) == 1
        assert listening.front.shed() == 1
        assert not listening.front.connections
        for end in ends:
            end.close()

    run(test)


def received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except BlockingIOError:
        return b""
