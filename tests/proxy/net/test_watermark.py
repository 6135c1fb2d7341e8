"""The low-water mark: raised for who sends fast, given up for who pauses, gone when the body has been read."""

import socket
from typing import Any

import gevent
import pytest

from proxy.net import splice, watermark
from proxy.net.event_loop import NEVER, give_way
from proxy.net.splice import WORTHWHILE
from proxy.net.stream import Stream
from proxy.net.watermark import MARK, LowWater
from tests.proxy.net.loop import Loop, in_loop, until

pytestmark = pytest.mark.skipif(not splice.AVAILABLE, reason="used for splicing, which this platform does not have")


def standing(stream: Stream) -> int:
    return stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


def raised(loop: Loop) -> tuple[LowWater, Stream, Any]:
    stream, far = loop.tcp_pair()
    mark = LowWater(stream)
    mark.passed(WORTHWHILE, MARK)
    assert standing(stream) == MARK
    return mark, stream, far


@in_loop
def test_pieces_are_gathered(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermark, "_PATIENCE", 60.0)
    mark, stream, far = raised(loop)
    reading = gevent.spawn(lambda: (mark.wait_readable(NEVER), stream.sock.recv(2 * MARK))[1])
    for _ in range(MARK // 8192):
        far.sendall(bytes(8192))
        give_way()
    assert len(reading.get()) == MARK


@in_loop
def test_a_pause_is_not_waited_out(loop: Loop) -> None:
    mark, stream, far = raised(loop)
    far.sendall(b"all for now")
    mark.wait_readable(NEVER)
    assert stream.sock.recv(100) == b"all for now"
    assert standing(stream) == 1


@in_loop
def test_a_long_pause_costs_nothing(loop: Loop) -> None:
    mark, stream, far = raised(loop)
    reading = gevent.spawn(mark.wait_readable, NEVER)
    until(lambda: standing(stream) == 1)
    assert not mark._timer.active
    far.sendall(b"rest")
    reading.get()


@in_loop
def test_the_end_is_not_waited_for(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermark, "_PATIENCE", 60.0)
    mark, stream, far = raised(loop)
    far.sendall(b"rest")
    far.shutdown(socket.SHUT_WR)
    mark.wait_readable(NEVER)
    assert stream.sock.recv(100) == b"rest"


@pytest.mark.parametrize(("count", "left"), [(WORTHWHILE - 1, MARK), (WORTHWHILE, MARK - 1)])
@in_loop
def test_slow_senders_and_last_pieces_are_read_as_they_come(loop: Loop, count: int, left: int) -> None:
    mark, stream, _ = raised(loop)
    mark.passed(count, left)
    assert standing(stream) == 1


@in_loop
def test_whoever_waits_next_finds_nothing_of_it(loop: Loop) -> None:
    mark, stream, _ = raised(loop)
    mark.close()
    assert standing(stream) == 1


@in_loop
def test_a_closed_stream_has_no_mark(loop: Loop) -> None:
    mark, stream, _ = raised(loop)
    stream.close()
    mark.close()
