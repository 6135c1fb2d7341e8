"""Connections beyond the limit: who makes room, and what a newcomer costs."""

import socket

from proxy.downstream.frontend import Frontend
from proxy.exchange.context import ExchangeContext, Waiting
from proxy.exchange.route import Tables
from proxy.limits import Limits
from proxy.net.sockets import Socket
from proxy.net.splice import Pipes
from proxy.observe.accesslog import AccessLog
from proxy.observe.log_formats import Combined
from proxy.observe.metrics import Board
from proxy.settings import Settings
from proxy.wire.fields import RequestIds
from proxy.wire.request_line import HeadLimits
from tests.proxy.net.loop import Loop, in_loop

LIMIT = 1280


class Guest:
    """A connection that counts how often it is looked at."""

    detached = False
    looks = 0
    idle = True

    def __init__(self, sock: Socket, front: Frontend, _client: str, _watcher: object) -> None:
        self._sock = sock
        self._front = front
        self.deadline = float(len(front.connections))
        self.closed = False
        front.connections.add(self)

    @property
    def parked(self) -> bool:
        Guest.looks += 1
        return Guest.idle

    def exchanges(self) -> tuple[()]:
        return ()

    def expire(self) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True
        self._front.connections.discard(self)
        self._sock.close()


def full_front(loop: Loop) -> Frontend:
    context = ExchangeContext(
        loop.hub, loop.deadlines, Pipes(), memoryview(bytearray(1 << 17)), Board().counters(0),
        AccessLog(None, Combined(), lambda _count: None), RequestIds(), {}, Waiting(),
        Limits(16, 1).worker(0))  # fmt: skip
    tables = Tables(Settings(workers=1, max_connections=LIMIT), HeadLimits(4094, 8190, 100, 32768), [])
    front = Frontend(tables, context, Guest, b"http", b"80")
    Guest.looks, Guest.idle = 0, True
    for _ in range(LIMIT):
        come(front)
    assert Guest.looks == 0
    return front


def come(front: Frontend) -> Socket:
    near, far = socket.socketpair()
    far.close()
    sock = Socket(int(near.family), int(near.type), near.proto, fileno=near.detach())
    front.accept(sock, "192.0.2.1")
    return sock


def connection_limit(front: Frontend) -> set[Guest]:
    return {guest for guest in front.connections if isinstance(guest, Guest)}


@in_loop
def test_those_idle_longest_make_room(loop: Loop) -> None:
    front = full_front(loop)
    before = sorted(connection_limit(front), key=lambda guest: guest.deadline)
    newcomer = come(front)
    assert newcomer.fileno() >= 0
    closed = [guest.closed for guest in before]
    made = sum(closed)
    assert 0 < made <= LIMIT // 32
    assert closed == [True] * made + [False] * (LIMIT - made)
    for guest in connection_limit(front):
        guest.close()


@in_loop
def test_accept_flood_scans_each_connection_rarely(loop: Loop) -> None:
    front = full_front(loop)
    for _ in range(LIMIT):
        come(front)
    assert len(front.connections) <= LIMIT
    assert Guest.looks < 70 * LIMIT  # a search for each would be LIMIT times LIMIT
    for guest in connection_limit(front):
        guest.close()


@in_loop
def test_flood_without_idle_connections_is_refused_unscanned(loop: Loop) -> None:
    front = full_front(loop)
    Guest.idle = False
    for _ in range(LIMIT):
        assert come(front).fileno() < 0
    assert Guest.looks < 70 * LIMIT
    assert len(front.connections) == LIMIT
    Guest.idle = True
    front._full_until = 0.0
    assert come(front).fileno() >= 0
    for guest in connection_limit(front):
        guest.close()
