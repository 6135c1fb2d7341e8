"""The last line of defence: no request leaves whose announced length differs from its body (RFC 9112 section 6.3)."""

from collections.abc import Callable

import pytest

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.net.spool import Spool
from proxy.upstream.body import StreamedBody
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.request import RequestFields
from tests.proxy.net.loop import Loop, in_loop, read_all
from tests.proxy.upstream.test_pool import Peer


class Pieces(StreamedBody):
    """A streamed body that comes in these pieces; `whole` says whether it then ends, or breaks off in silence."""

    def __init__(self, *pieces: bytes, whole: bool = True) -> None:
        self.expects_continue = False
        self.timeout = 1.0
        self.done = False
        self._pieces = list(pieces)
        self._whole = whole

    def take(self) -> bytes | None:
        if self._pieces:
            return self._pieces.pop(0)
        self.done = self._whole
        return b""

    @property
    def ready(self) -> bool:
        return True

    def watch(self, callback: Callable[[], object]) -> None:
        """Everything is here."""

    def unwatch(self) -> None:
        """Nobody watches."""

    def proceed(self) -> None:
        raise AssertionError("nobody asked")


def spooled(data: bytes) -> Spool:
    spool = Spool(1 << 16, None)
    spool.append(data)
    return spool


AT_HAND: dict[str, tuple[bytes | Spool | None, int | None]] = {
    "less in memory": (b"abcd", 5),
    "more in memory": (b"abcdef", 5),
    "less in a spool": (spooled(b"abcd"), 5),
    "more in a spool": (spooled(b"abcdef"), 5),
    "no body": (None, 5),
    "no length": (b"abcd", None),
}
STREAMED: dict[str, tuple[StreamedBody, int | None, bytes]] = {
    "less": (Pieces(b"ab", b"cd"), 5, b"abcd"),
    "nothing": (Pieces(), 5, b""),
    "more": (Pieces(b"abc", b"def"), 5, b"abc"),
    "more where none is announced": (Pieces(b"abc"), 0, b""),
    "chunked and broken off": (Pieces(b"abc", whole=False), None, b"3\r\nabc\r\n"),
}
RIGHT: dict[str, tuple[bytes | Spool | StreamedBody | None, int | None, bytes, bytes]] = {
    "no body": (None, None, b"", b""),
    "an empty body": (None, 0, b"Content-Length: 0\r\n", b""),
    "memory": (b"abcde", 5, b"Content-Length: 5\r\n", b"abcde"),
    "spool": (spooled(b"abcde"), 5, b"Content-Length: 5\r\n", b"abcde"),
    "streamed": (Pieces(b"abc", b"de"), 5, b"Content-Length: 5\r\n", b"abcde"),
    "chunked": (Pieces(b"abcde"), None, b"Transfer-Encoding: chunked\r\n", b"5\r\nabcde\r\n0\r\n\r\n"),
}


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nX-Request-ID: 1\r\n"


def on_a_connection(test: Callable[[UpstreamConnection], None]) -> bytes:
    """Run a test with a connection; everything that its peer was sent."""
    received: list[bytes] = []

    @in_loop
    def with_peer(loop: Loop) -> None:
        peer = Peer(loop)
        connection = peer.connect()
        try:
            test(connection)
            connection.close()
            received.append(read_all(peer.accepted[0]))
        finally:
            connection.close()
            peer.close()

    with_peer()
    return received[0]


@pytest.mark.parametrize("name", AT_HAND)
def test_nothing_is_sent_of_a_body_that_is_not_as_announced(name: str) -> None:
    def test(connection: UpstreamConnection) -> None:
        with pytest.raises(ExchangeError) as raised:
            connection.send_request(HEAD, *AT_HAND[name], 1.0)
        assert raised.value.failure is errors.INTERNAL

    assert on_a_connection(test) == b""


@pytest.mark.parametrize("name", ["less in memory", "more in memory", "no body", "no length"])
def test_no_message_is_made_with_a_body_that_is_not_as_announced(name: str) -> None:
    request = Request(b"POST", b"/", 1, RequestFields(), b"Host: x\r\n", 0.0)
    body, request.length = AT_HAND[name]
    assert not isinstance(body, Spool)
    with pytest.raises(ExchangeError) as raised:
        request.message(body)
    assert raised.value.failure is errors.INTERNAL


@pytest.mark.parametrize("name", STREAMED)
def test_streamed_body_of_wrong_length_ends_the_connection(name: str) -> None:
    body, length, passed_on = STREAMED[name]

    def test(connection: UpstreamConnection) -> None:
        with pytest.raises(ExchangeError) as raised:
            connection.send_request(HEAD, body, length, 1.0)
        assert raised.value.failure is errors.INTERNAL
        assert not connection.returnable

    assert on_a_connection(test).partition(b"\r\n\r\n")[2] == passed_on


@pytest.mark.parametrize("name", RIGHT)
def test_a_body_is_sent_with_its_framing(name: str) -> None:
    body, length, framing, content = RIGHT[name]

    def test(connection: UpstreamConnection) -> None:
        connection.send_request(HEAD, body, length, 1.0)
        assert connection.returnable

    assert on_a_connection(test) == HEAD + framing + b"\r\n" + content
