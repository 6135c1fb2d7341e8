"""Requests on an open upstream connection: they need no greenlet, and end as all others."""

import contextlib
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.gateway import serve
from tests.proxy.integration.exchange import PATIENCE
from tests.proxy.integration.scripted import OK, Manual
from tests.waiting import until

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


class Warm:
    """A client's connection and the upstream's, both of which have carried an exchange."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.upstream = Manual()
        kept = ("--upstream-keepalive", "60", "--reuse-unsafe", "60")
        self.gateway = serve(directory, self.upstream.address, *kept, *flags)
        self.client = socket.create_connection(self.gateway.address, timeout=PATIENCE)
        self.client.sendall(GET % 0)
        self.far = self.upstream.accept()
        self.take()
        self.far.sendall(OK)
        assert self.read() == b"ok"

    def take(self, body: bytes = b"") -> bytes:
        """The next request at the upstream, which ends with `body`."""
        data = b""
        while not data.endswith(b"\r\n\r\n" + body):
            piece = self.far.recv(65536)
            assert piece, "the gateway closed its connection to the upstream"
            data += piece
        return data

    def read(self) -> bytes:
        """The next answer's body."""
        return self.read_whole().partition(b"\r\n\r\n")[2]

    def read_whole(self) -> bytes:
        """The next answer."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = self.client.recv(1)
            assert piece, f"the gateway closed the client's connection behind {head!r}"
            head += piece
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = b""
        while len(body) < length:
            body += self.client.recv(length - len(body))
        return head + body

    def logged(self, count: int) -> dict[str, object]:
        """The last of `count` lines of the access log."""
        return until(lambda: self.gateway.logged()[count - 1 : count], "the log has the request")[0]

    def close(self) -> None:
        self.client.close()
        self.gateway.close()
        for sock in self.upstream.kept:
            sock.close()


@pytest.fixture(name="warm")
def _warm(tmp_path: Path) -> Iterator[Warm]:
    with contextlib.closing(Warm(tmp_path)) as warm:
        yield warm


def test_an_answer_in_pieces_arrives_whole(warm: Warm) -> None:
    warm.client.sendall(GET % 1)
    warm.take()
    for piece in (b"HTTP/1.1 200 OK\r\nCont", b"ent-Length: 10\r\n\r\n", b"01234", b"56789"):
        warm.far.sendall(piece)
        with pytest.raises(TimeoutError):  # nothing else can be seen to have read the piece
            _peek(warm.far)
    assert warm.read() == b"0123456789"
    warm.client.sendall(GET % 2)
    warm.take()
    warm.far.sendall(OK)
    assert warm.read() == b"ok"


def _peek(sock: socket.socket) -> None:
    sock.settimeout(0.05)
    try:
        sock.recv(1, socket.MSG_PEEK)
    finally:
        sock.settimeout(PATIENCE)


def test_requests_behind_one_another_are_answered_in_order(warm: Warm) -> None:
    warm.client.sendall((GET % 1) + (GET % 2) + (GET % 3))
    for number in (1, 2, 3):
        assert warm.take().startswith(b"GET /%d " % number)
        warm.far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        assert warm.read() == b"%d" % number


def test_reused_objects_keep_each_exchange_separate(warm: Warm) -> None:
    ids = set()
    for turn in range(4):
        for number, body in ((1, b"a"), (1, b"b"), (11, b"c"), (1, b"longer")):
            warm.client.sendall(GET % number)
            head = warm.take()
            assert head.startswith(b"GET /%d HTTP/1.1\r\n" % number)
            ids.add(head.partition(b"X-Request-ID: ")[2])
            cookie = b"Set-Cookie: turn=%d\r\n" % turn if number == 11 else b""
            warm.far.sendall(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (cookie, len(body), body))
            got = warm.read_whole()
            assert got.endswith(b"\r\n\r\n" + body)
            assert cookie in got
            assert (b"Set-Cookie" in got) == (number == 11)
    assert len(ids) == 16


def test_a_body_that_came_with_its_head_goes_along(warm: Warm) -> None:
    for body in (b"one", b"two", b"6 more"):
        request = b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        warm.client.sendall(request)
        got = warm.take(body)
        assert got.count(b"Content-Length: %d\r\n" % len(body)) == 1
        assert got.endswith(b"\r\n\r\n" + body)
        warm.far.sendall(OK)
        assert warm.read() == b"ok"
    assert warm.logged(4)["received"] == len(request)


def test_what_stands_behind_a_body_is_the_next_request(warm: Warm) -> None:
    warm.client.sendall(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody" + GET % 2)
    assert warm.take(b"body").startswith(b"POST /1 ")
    warm.far.sendall(OK)
    assert warm.read() == b"ok"
    assert warm.take().startswith(b"GET /2 ")
    warm.far.sendall(OK)
    assert warm.read() == b"ok"


def test_a_post_that_may_have_arrived_is_not_sent_again(warm: Warm) -> None:
    warm.client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
    warm.take(b"body")
    warm.far.close()
    assert b"upstream_closed" in warm.read()
    warm.upstream.listener.settimeout(0.2)
    # A handshake may come, which finds out whether the upstream speaks TLS. A request must not.
    with contextlib.suppress(TimeoutError):
        while True:
            with warm.upstream.listener.accept()[0] as accepted:
                assert b"POST" not in accepted.recv(65536)


def test_a_body_over_the_limit_is_refused_though_it_is_here(tmp_path: Path) -> None:
    with contextlib.closing(Warm(tmp_path, "--max-body", "3")) as warm:
        warm.client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
        assert b"body_too_large" in warm.read()


def test_a_client_that_asks_to_close_is_answered_and_closed(warm: Warm) -> None:
    warm.client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    warm.take()
    warm.far.sendall(OK)
    assert warm.read() == b"ok"
    assert warm.client.recv(1) == b""


def test_a_client_that_leaves_takes_its_request_along(warm: Warm) -> None:
    warm.client.sendall(GET % 1)
    warm.take()
    warm.client.close()
    assert warm.far.recv(1) == b"", "the upstream is told"
    line = warm.logged(2)
    assert (line["status"], line["termination"]) == (499, "CH")


def test_a_stale_connection_is_replaced(warm: Warm) -> None:
    warm.client.sendall(GET % 1)
    warm.take()
    warm.far.close()
    warm.far = warm.upstream.accept()
    assert warm.take().startswith(b"GET /1 ")
    warm.far.sendall(OK)
    assert warm.read() == b"ok"


def test_a_client_that_leaves_before_the_repetition_is_logged(warm: Warm) -> None:
    warm.client.sendall(GET % 1)
    warm.take()
    warm.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    warm.far.shutdown(socket.SHUT_WR)
    assert warm.far.recv(1) == b"", "the gateway has given the connection up"
    warm.client.close()
    line = warm.logged(2)
    assert line["status"] == 499


def test_an_upstream_that_closes_afterwards_is_noticed(warm: Warm) -> None:
    """Not by the next request: the idle connection leaves the pool, and no exchange of the past hears of it."""
    for number in (1, 2):
        warm.client.sendall(GET % number)
        warm.take()
        warm.far.sendall(OK)
        assert warm.read() == b"ok"
    warm.far.shutdown(socket.SHUT_WR)
    assert warm.far.recv(1) == b"", "the gateway closes its end"
    warm.client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    warm.far = warm.upstream.accept()
    warm.take()
    warm.far.sendall(OK)
    assert warm.read() == b"ok"
    assert "Traceback" not in warm.gateway.log, warm.gateway.log


def test_garbage_is_no_answer(warm: Warm) -> None:
    warm.client.sendall(GET % 1)
    warm.take()
    warm.far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
    assert b"bad_response" in warm.read()
    assert warm.far.recv(1) == b"", "such a connection is not used again"


def test_bytes_after_a_response_end_the_upstream_connection(warm: Warm) -> None:
    warm.client.sendall(GET % 1)
    warm.take()
    warm.far.sendall(OK + b"more")
    assert warm.read() == b"ok"
    assert warm.far.recv(1) == b""


def test_an_upstream_that_stays_silent_runs_into_the_deadline(tmp_path: Path) -> None:
    with contextlib.closing(Warm(tmp_path, "--read-timeout", "1")) as warm:
        warm.client.sendall(GET % 1)
        warm.take()
        assert b"response_timeout" in warm.read()
        assert warm.logged(2)["termination"] == "sH"


def test_a_drain_lets_the_answer_through(warm: Warm) -> None:
    warm.client.sendall(GET % 1)
    warm.take()
    warm.gateway.signal(signal.SIGTERM)
    until(lambda: "Handling signal: term" in warm.gateway.log, "the gateway drains")
    warm.far.sendall(OK)
    assert warm.read() == b"ok"
    assert warm.client.recv(1) == b""


def test_a_request_that_needed_a_greenlet_may_be_asked_again(warm: Warm) -> None:
    for size in (2, 100_000, 2, 2):  # a body of two reads is relayed in a greenlet
        warm.client.sendall(GET % 1)
        warm.take()
        warm.far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        assert len(warm.read()) == size
