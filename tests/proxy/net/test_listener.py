"""Listeners: who comes alone, who comes with many, and what is done to their sockets."""

import itertools
import socket
from collections.abc import Iterator

import gevent
import pytest

from proxy.net.listener import Listener
from proxy.net.sockets import Socket
from tests.proxy.net.loop import Loop, in_loop

BATCH = 8


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as sock:
        yield sock


@pytest.mark.parametrize("count", [1, 3, 40])
@in_loop
def test_all_who_come_are_accepted_without_delay_or_blocking(loop: Loop, listening: socket.socket, count: int) -> None:
    accepted: list[tuple[Socket, str]] = []
    turns: list[int] = []
    listener = Listener(
        listening, loop.hub, lambda sock, client: accepted.append((sock, client)), lambda: None,
        lambda: bool(turns.append(len(accepted))), BATCH)  # fmt: skip
    clients = [socket.create_connection(listening.getsockname()) for _ in range(count)]
    listener.start()
    while len(accepted) < count:
        gevent.sleep(0)
    late = socket.create_connection(listening.getsockname())
    while len(accepted) == count:
        gevent.sleep(0)
    listener.stop()
    for client in (*clients, late):
        client.close()
    taken = [after - before for before, after in itertools.pairwise(turns)]
    assert max(taken) == {1: 1, 3: 2, 40: BATCH}[count]
    for sock, client in accepted:
        assert client == "127.0.0.1"
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.gettimeout() == 0.0
        sock.close()
