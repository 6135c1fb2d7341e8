"""Streams: waiting, deadlines, and what happens when nobody waits."""

import gevent
import pytest

from proxy.errors import DeadlinePassed
from proxy.net.stream import wait_either
from tests.proxy.net.loop import Loop, in_loop, read_all, until


@in_loop
def test_bytes_wake_who_waits_for_them(loop: Loop) -> None:
    stream, far = loop.pair()
    gevent.spawn(far.sendall, b"hello")
    assert stream.receive(float("inf")) == b"hello"
    far.close()
    assert stream.receive(float("inf")) == b""
    stream.close()
    stream.close()
    assert stream.closed
    assert not loop.deadlines.streams


@in_loop
def test_bytes_that_come_while_nobody_waits_are_found_later(loop: Loop) -> None:
    stream, far = loop.pair()
    far.sendall(b"early")
    until(lambda: not stream.read_watcher.active)
    assert stream.receive(float("inf")) == b"early"
    far.sendall(b"late")
    assert stream.receive(float("inf")) == b"late"


@in_loop
def test_the_sweeper_ends_a_wait_that_is_over(loop: Loop) -> None:
    stream, _far = loop.pair()
    gevent.spawn(lambda: (gevent.sleep(0), loop.deadlines.sweep()))
    with pytest.raises(DeadlinePassed):
        stream.receive(-1.0)
    assert not stream.closed


@in_loop
def test_the_sweeper_closes_what_nobody_waits_for(loop: Loop) -> None:
    stream, far = loop.pair()
    stream.deadline = -1.0
    loop.deadlines.sweep()
    assert stream.closed
    assert far.recv(1) == b""


@in_loop
def test_everything_is_sent_to_a_slow_reader(loop: Loop) -> None:
    stream, far = loop.tcp_pair()
    data = bytes(range(256)) * 4096
    reader = gevent.spawn(read_all, far)
    stream.send_all(data, 5.0)
    stream.finish_sending()
    assert reader.get() == data


@in_loop
def test_a_reader_that_stands_still_lets_the_deadline_pass(loop: Loop) -> None:
    stream, _far = loop.tcp_pair()
    sweeper = loop.sweeping()
    with pytest.raises(DeadlinePassed):
        stream.send_all(b"x" * 10_000_000, 0.0)
    sweeper.stop()


@in_loop
def test_a_reset_is_seen_as_one(loop: Loop) -> None:
    stream, far = loop.tcp_pair()
    stream.reset()
    with pytest.raises(ConnectionResetError):
        far.recv(1)


@in_loop
def test_either_of_two_wakes(loop: Loop) -> None:
    reading, far = loop.pair()
    full, taking = loop.tcp_pair()
    while full.send(b"x" * 65536):
        pass
    gevent.spawn(far.sendall, b"y")
    wait_either(reading, full, float("inf"))
    assert reading.receive(float("inf")) == b"y"
    gevent.spawn(lambda: [taking.recv(65536) for _ in range(100)])
    wait_either(reading, full, float("inf"))
    assert full.send(b"x")


@in_loop
def test_watcher_and_waiting_sender_are_both_notified(loop: Loop) -> None:
    stream, far = loop.tcp_pair()
    while stream.send(b"x" * 65536):
        pass
    heard = []
    stream.watch_readable(lambda: heard.append(stream.sock.recv(10)))
    waiting = gevent.spawn(stream.wait_writable, float("inf"))
    far.sendall(b"one")
    until(lambda: heard)
    assert not waiting.ready()
    stream.watch_readable(stream.on_readable)
    far.sendall(b"two")
    gevent.sleep(0.01)  # nothing tells that a callback is not called
    assert heard == [b"one"]
    assert stream.receive(float("inf")) == b"two"
    waiting.kill()
