"""The pool: which connection is leased to whom, and which are of no use any more."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from gevent import socket as gevent_socket

from proxy.errors import ExchangeError
from proxy.observe.metrics import Board
from proxy.settings.values import Address
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.faults import Stale
from proxy.upstream.pool import ConnectRefused, Pool
from tests.proxy.net.loop import Loop, arrives, in_loop, until


class Peer:
    """A listening peer and the pool of connections to it."""

    def __init__(self, loop: Loop, path: Path | None = None, **options: Any) -> None:
        self.listener = gevent_socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.listener.bind(str(path) if path else ("127.0.0.1", 0))
        self.listener.listen(16)
        address = Address(path=str(path)) if path else Address(*self.listener.getsockname())
        counters = Board().counters(0).peer("peer")
        settings = {"size": 8, "idle_limit": 60.0, "reuse_unsafe": 1.0} | options
        self.pool = Pool(address, loop.hub, loop.deadlines, counters, **settings)
        self.accepted: list[Any] = []

    def connect(self) -> UpstreamConnection:
        connection = self.pool.connect(5.0)
        self.accepted.append(self.listener.accept()[0])
        return connection

    def close(self) -> None:
        self.pool.close()
        self.listener.close()
        for sock in self.accepted:
            sock.close()


@pytest.fixture(name="peers")
def _peers() -> Iterator[list[Peer]]:
    made: list[Peer] = []
    yield made
    for peer in made:
        peer.close()


def _peer(peers: list[Peer], loop: Loop, path: Path | None = None, **options: Any) -> Peer:
    peers.append(Peer(loop, path, **options))
    return peers[-1]


@in_loop
def test_the_last_returned_is_leased_first(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    first, second = peer.connect(), peer.connect()
    assert peer.pool.lease(0.0, repeatable=True) is None
    peer.pool.give_back(first, 1.0)
    peer.pool.give_back(second, 1.0)
    assert peer.pool.lease(1.0, repeatable=True) is second
    assert peer.pool.lease(1.0, repeatable=True) is first
    assert (peer.pool.open, peer.pool.idle_count) == (2, 0)
    first.close()
    second.close()
    assert peer.pool.open == 0


@in_loop
def test_bodiless_response_with_length_is_reused_once_quiet(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    connection, other = peer.connect(), peer.connect()
    peer.pool.give_back(connection, 1.0, doubtful=True)
    peer.pool.give_back(other, 1.0)
    assert (peer.pool.idle_count, peer.pool.busy) == (2, 0)
    assert [peer.pool.lease(1.1, repeatable=True) for _ in range(2)] == [other, None]
    assert peer.pool.lease(1.3, repeatable=True) is connection
    connection.close()
    other.close()


def _overruns(peer: Peer, loop: Loop, *, doubtful: bool = False) -> None:
    """The peer sends more than its answer, a moment later."""
    connection = peer.connect()
    peer.pool.give_back(connection, monotonic(), doubtful=doubtful)
    peer.accepted[-1].sendall(b"HTTP/1.1 200 OK\r\n")
    until(lambda: connection.closed)


@in_loop
def test_peer_sending_stray_bytes_is_distrusted_for_a_while(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    kept, private, leased = (peer.connect() for _ in range(3))
    for _ in range(19):
        _overruns(peer, loop)
    peer.pool.give_back(kept, monotonic())
    assert peer.pool.lease(monotonic(), repeatable=True) is kept
    peer.pool.give_back(kept, monotonic())
    private.private = True
    peer.pool.give_back(private, monotonic())
    _overruns(peer, loop)
    assert kept.closed, "it may carry more of the same"
    assert private.closed
    peer.pool.give_back(leased, monotonic())
    assert (leased.closed, peer.pool.open) == (True, 0)
    later = peer.connect()
    peer.pool.give_back(later, monotonic() + 61)
    assert peer.pool.lease(monotonic() + 62, repeatable=True) is later
    later.close()


@in_loop
def test_peer_that_sent_a_forbidden_body_stays_distrusted(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    first, second = peer.connect(), peer.connect()
    _overruns(peer, loop, doubtful=True)
    peer.pool.give_back(first, monotonic(), doubtful=True)
    assert first.closed
    peer.pool.give_back(second, monotonic())
    assert peer.pool.lease(monotonic(), repeatable=True) is second
    second.close()


@pytest.mark.parametrize("doubtful", [True, False])
@pytest.mark.parametrize("sign", [b"", b"HTTP/1.1 408 Too Late\r\n\r\n"])
@in_loop
def test_ending_idle_connections_is_no_fault(loop: Loop, sign: bytes, doubtful: bool, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    for _ in range(25):
        connection = peer.connect()
        peer.pool.give_back(connection, monotonic() - 1, doubtful=doubtful)
        if sign:
            peer.accepted[-1].sendall(sign)
        peer.accepted[-1].close()
        until(lambda: connection.closed)  # noqa: B023 - called at once
    last = peer.connect()
    peer.pool.give_back(last, monotonic(), doubtful=doubtful)
    assert peer.pool.lease(monotonic() + 0.3, repeatable=True) is last
    last.close()


@in_loop
def test_a_private_connection_is_nobody_elses(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop, reuse_unsafe=1.0)
    connection = peer.connect()
    connection.private = True
    peer.pool.give_back(connection, 1.0)
    assert (peer.pool.idle_count, peer.pool.busy) == (1, 0)
    assert peer.pool.lease(1.5, repeatable=True) is None
    assert peer.pool.resume(connection, 1.5, repeatable=False)
    assert (peer.pool.idle_count, peer.pool.busy) == (0, 1)
    connection.private = True
    peer.pool.give_back(connection, 2.0)
    assert not peer.pool.resume(connection, 3.5, repeatable=False), "it may have been closed meanwhile"
    assert (connection.closed, peer.pool.open) == (True, 0)


@pytest.mark.parametrize("end", ["closes", "speaks", "is removed", "is late"])
@in_loop
def test_a_private_connection_ends_as_others_do(loop: Loop, end: str, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    connection = peer.connect()
    connection.private = True
    peer.pool.give_back(connection, 1.0 if end != "is late" else -100.0)
    if end == "closes":
        peer.accepted[0].close()
    elif end == "speaks":
        peer.accepted[0].sendall(b"!")
    elif end == "is removed":
        peer.pool.close()
    else:
        loop.deadlines.sweep()
    until(lambda: connection.closed)
    assert (peer.pool.idle_count, peer.pool.open) == (0, 0)


@pytest.mark.parametrize("sign", [b"", b"HTTP/1.1 408 Too Late\r\n\r\n"])
@in_loop
def test_idle_connection_that_closes_or_speaks_is_discarded(loop: Loop, sign: bytes, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    connection = peer.connect()
    peer.pool.give_back(connection, 1.0)
    peer.accepted[0].sendall(sign) if sign else peer.accepted[0].close()
    until(lambda: peer.pool.idle_count == 0)
    assert connection.closed


@in_loop
def test_unrepeatable_request_gets_a_proven_connection(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    old, fresh, gone = peer.connect(), peer.connect(), peer.connect()
    peer.pool.give_back(old, 1.0)
    peer.pool.give_back(fresh, 2.5)
    peer.pool.give_back(gone, 2.5)
    peer.accepted[2].close()
    arrives(gone)
    assert peer.pool.lease(3.0, repeatable=False) is fresh
    assert peer.pool.lease(3.0, repeatable=False) is None
    assert gone.closed
    assert peer.pool.lease(3.0, repeatable=True) is old, "it was left for requests that may be sent twice"
    old.close()
    fresh.close()


@in_loop
def test_idle_connections_end_before_the_upstream_ends_them(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop, idle_limit=1.0)
    late, swept = peer.connect(), peer.connect()
    peer.pool.give_back(late, 1.0)
    assert peer.pool.lease(2.5, repeatable=True) is None
    assert late.closed
    peer.pool.give_back(swept, -10.0)
    loop.deadlines.sweep()
    assert swept.closed
    assert peer.pool.idle_count == 0


@in_loop
def test_no_more_are_kept_than_the_pool_holds(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop, size=1)
    first, second = peer.connect(), peer.connect()
    peer.pool.give_back(first, 1.0)
    peer.pool.give_back(second, 1.0)
    assert second.closed
    none_kept = _peer(peers, loop, idle_limit=0.0)
    only = none_kept.connect()
    none_kept.pool.give_back(only, 1.0)
    assert only.closed
    peer.pool.close()
    assert first.closed


@in_loop
def test_a_connection_of_a_closed_pool_is_not_kept(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    leased = peer.connect()
    peer.pool.close()
    peer.pool.give_back(leased, 1.0)
    assert leased.closed


@in_loop
def test_a_unix_socket_is_a_peer_too(loop: Loop, peers: list[Peer], tmp_path: Path) -> None:
    connection = _peer(peers, loop, tmp_path / "app.sock").connect()
    assert connection.alive()
    connection.close()


@in_loop
def test_nobody_there_is_told_apart_from_silence(loop: Loop, peers: list[Peer], tmp_path: Path) -> None:
    peer = _peer(peers, loop)
    peer.listener.close()
    with pytest.raises(ConnectRefused):
        peer.pool.connect(5.0)
    missing = Pool(
        Address(path=str(tmp_path / "none.sock")),
        loop.hub,
        loop.deadlines,
        Board().counters(0).peer("missing"),
        size=1,
        idle_limit=1.0,
        reuse_unsafe=1.0,
    )
    with pytest.raises(ConnectRefused):
        missing.connect(5.0)


@in_loop
def test_a_peer_that_does_not_accept_in_time_is_a_timeout(loop: Loop, peers: list[Peer]) -> None:
    """A full backlog on Linux: the handshake of one more connection is not answered."""
    peer = _peer(peers, loop)
    peer.listener.listen(0)
    waiting: list[UpstreamConnection] = []

    def fill_the_backlog() -> None:
        while len(waiting) < 8:
            waiting.append(peer.pool.connect(0.05))

    sweeper = loop.sweeping()
    with pytest.raises(ExchangeError) as failed:
        fill_the_backlog()
    assert failed.value.failure.status == 504
    for connection in waiting:
        connection.close()
    sweeper.stop()


@in_loop
def test_what_was_not_taken_at_once_is_sent_later_and_whole(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    connection = peer.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    body = bytes(range(256)) * 4096
    unsent = connection.send_inline(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert 0 < len(unsent) < len(body)
    assert body.endswith(unsent)
    connection.send_rest(unsent, 10.0)  # does not wait for the peer
    got = b""
    while not got.endswith(body):
        piece = peer.accepted[0].recv(65536)
        assert piece
        got += piece
    assert got.startswith(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n")
    until(lambda: connection.returnable)
    peer.accepted[0].close()
    connection.close()


@in_loop
def test_the_rest_of_a_request_to_a_peer_that_left_is_stale(loop: Loop, peers: list[Peer]) -> None:
    peer = _peer(peers, loop)
    connection = peer.connect()
    peer.accepted[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.accepted[0].close()
    arrives(connection)
    with pytest.raises(Stale):
        connection.send_rest(b"rest", 10.0)
    assert not connection.reusable
    connection.close()
