"""The rest of a request on its way: what it waits for, what ends it, and that it lets go of everything."""

import functools
import inspect
import os
import socket
import struct
from collections.abc import Callable

import gevent
import pytest

from proxy import errors
from proxy.errors import ClientGone, ExchangeError
from proxy.net.spool import Spool
from proxy.upstream.body import StreamedBody
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.faults import Stale
from tests.proxy.net.loop import Loop, in_loop, read_exactly, until
from tests.proxy.upstream.test_pool import Peer

BODY = os.urandom(4 << 20)  # more than the sockets hold


class Client(StreamedBody):
    """A body whose pieces the test gives one by one."""

    timeout = 5.0

    def __init__(self, *, expects_continue: bool = False) -> None:
        self.expects_continue = expects_continue
        self.done = False
        self.asked = False
        self.fault: Exception | None = None
        self.watched: Callable[[], object] | None = None
        self._pieces: list[bytes] = []

    def give(self, *pieces: bytes) -> None:
        """Let pieces come, b"" is the end."""
        self._pieces += pieces
        if self.watched is not None:
            self.watched()

    def take(self) -> bytes | None:
        if self.fault is not None:
            raise self.fault
        if not self._pieces:
            return None
        piece = self._pieces.pop(0)
        self.done = not piece
        return piece

    @property
    def ready(self) -> bool:
        return bool(self._pieces)

    def watch(self, callback: Callable[[], object]) -> None:
        self.watched = callback

    def unwatch(self) -> None:
        self.watched = None

    def proceed(self) -> None:
        self.asked = True


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nX-Request-ID: 1\r\n"


def with_peer(test: Callable[..., None]) -> Callable[..., None]:
    """Give a test a connection and its peer's socket behind the loop; pytest fills in the others."""

    @functools.wraps(test)
    def connected(loop: Loop, **fixtures: object) -> None:
        peer = Peer(loop)
        connection = peer.connect()
        try:
            test(loop, connection, peer.accepted[0], **fixtures)
        finally:
            connection.close()
            peer.close()

    signature = inspect.signature(test)
    loop, _connection, _sock, *others = signature.parameters.values()
    connected.__signature__ = signature.replace(parameters=[loop, *others])  # type: ignore[attr-defined]
    return in_loop(connected)


def read_until(sock: socket.socket, end: bytes, size: int = 65536) -> bytes:
    got = b""
    while not got.endswith(end):
        piece = sock.recv(size)
        assert piece, got[-100:]
        got += piece
    return got


@with_peer
def test_each_piece_goes_as_it_comes(loop: Loop, connection: UpstreamConnection, sock: socket.socket) -> None:
    client = Client()
    connection.send_request(HEAD, client, None, 5.0)
    upload = connection.upload
    assert upload is not None
    for piece in (b"one", b"two"):
        client.give(piece)
        assert read_until(sock, piece + b"\r\n").endswith(b"3\r\n%b\r\n" % piece)
    assert upload.under_way
    client.give(b"")
    assert read_until(sock, b"0\r\n\r\n")
    assert upload.whole
    assert client.watched is None


@with_peer
def test_client_is_not_read_while_the_upstream_stalls(
    loop: Loop, connection: UpstreamConnection, sock: socket.socket
) -> None:
    client = Client()
    connection.send_request(HEAD, client, 2 * len(BODY), 5.0)
    client.give(BODY)
    assert client.watched is None
    client.give(BODY, b"")
    read_until(sock, b"\r\n\r\n", 1)
    assert read_exactly(sock, 2 * len(BODY)) == BODY * 2
    until(lambda: connection.returnable)


@pytest.mark.parametrize("status", [100, 200, 299])
@with_peer
def test_a_held_body_is_asked_for_by_whatever_does_not_refuse_it(
    loop: Loop, connection: UpstreamConnection, sock: socket.socket, status: int
) -> None:
    client = Client(expects_continue=True)
    connection.send_request(HEAD, client, 5, 5.0)
    assert b"Expect: 100-continue\r\n" in read_until(sock, b"\r\n\r\n")
    client.give(b"hello", b"")
    assert not client.asked
    sock.sendall(b"HTTP/1.1 %d Well\r\n\r\n" % status + (b"HTTP/1.1 200 OK\r\n\r\n" if status == 100 else b""))
    informed: list[int] = []
    response, _ = connection.final_head(
        float("inf"), 0.0, 1000, inform=lambda response: informed.append(response.status)
    )
    assert ([*informed, response.status], client.asked) == ([100, 200] if status == 100 else [status], True)
    assert read_until(sock, b"hello") == b"hello"


@pytest.mark.parametrize("status", [300, 403, 500])
@with_peer
def test_an_error_ends_it_and_the_rest_is_read_away(
    loop: Loop, connection: UpstreamConnection, sock: socket.socket, status: int
) -> None:
    client = Client()
    connection.send_request(HEAD, client, 100, 5.0)
    read_until(sock, b"\r\n\r\n")
    sock.sendall(b"HTTP/1.1 %d No\r\n\r\n" % status)
    connection.final_head(float("inf"), 0.0, 1000)
    assert not connection.returnable
    client.give(b"unwanted")
    assert not client.ready
    client.give(b"")
    assert client.watched is None
    connection.close()
    assert sock.recv(100) == b""


@pytest.mark.parametrize("fault", [ClientGone(), ExchangeError(errors.CHUNK)])
@pytest.mark.parametrize("when", ["at once", "later"])
@with_peer
def test_upload_failure_is_raised_at_the_sender(
    loop: Loop, connection: UpstreamConnection, sock: socket.socket, fault: Exception, when: str
) -> None:
    client = Client()
    if when == "at once":
        client.fault = fault
    caught = []

    def exchange() -> None:
        try:
            connection.send_request(HEAD, client, 5, 5.0)
            connection.final_head(float("inf"), 0.0, 1000)
        except (ClientGone, ExchangeError) as error:
            caught.append(error)
        finally:
            upload = connection.upload
            assert upload is not None
            connection.close()
            upload.close()

    serving = gevent.spawn(exchange)
    until(lambda: serving.ready() or client.watched is not None)
    if when == "later":
        client.fault = fault
        loop.hub.loop.run_callback(client.give, b"x")
    serving.get()
    assert caught == [fault]
    assert client.watched is None


@pytest.mark.parametrize("spoken", [False, True])
@with_peer
def test_broken_connection_is_stale_unless_a_response_came(
    loop: Loop, connection: UpstreamConnection, sock: socket.socket, spoken: bool
) -> None:
    spool = Spool(0, None)
    spool.append(BODY)

    def fail() -> None:
        if spoken:
            sock.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    gevent.spawn_later(0.02, fail)
    if spoken:
        connection.send_request(HEAD, spool, len(BODY), 5.0)
        assert connection.final_head(float("inf"), 0.0, 1000)[0].status == 413
    else:
        with pytest.raises(Stale):
            ask(connection, spool)
    assert not connection.returnable
    spool.close()


def ask(connection: UpstreamConnection, spool: Spool) -> None:
    connection.send_request(HEAD, spool, len(BODY), 5.0)
    connection.final_head(float("inf"), 0.0, 1000)


@with_peer
def test_a_disk_that_fails_is_not_the_upstream_that_left(
    loop: Loop, connection: UpstreamConnection, sock: socket.socket
) -> None:
    spool = Spool(0, None)
    spool.append(BODY)
    file = spool._file
    assert file is not None
    connection.send_request(HEAD, spool, len(BODY), 5.0)
    os.ftruncate(file.fileno(), 0)
    gevent.spawn(read_until, sock, b"never")
    with pytest.raises(ExchangeError) as failed:
        connection.final_head(float("inf"), 0.0, 1000)
    assert failed.value.failure is errors.SPOOL
    spool.close()
