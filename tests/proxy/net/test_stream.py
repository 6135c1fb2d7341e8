"""Streams: waiting, deadlines, and what happens when nobody waits."""

import gevent
import pytest

from proxy.errors import DeadlinePassed
from proxy.net.stream import wait_either, wait_for_one
from tests.proxy.net.loop import Loop, read_all, read_exactly, run, until


def test_bytes_wake_who_waits_for_them() -> None:
    def test(loop: Loop) -> None:
        stream, far = loop.pair()
        gevent.spawn(far.sendall, b"hello")
        assert stream.receive(float("inf")) == b"hello"
        far.close()
        assert stream.receive(float("inf")) == b""
        stream.close()
        stream.close()
        assert stream.closed
        assert not loop.deadlines.streams

    run(test)


def test_bytes_that_come_while_nobody_waits_are_found_later() -> None:
    def test(loop: Loop) -> None:
        stream, far = loop.pair()
        far.sendall(b"early")
        until(lambda: not stream.reader.active)
        assert stream.receive(float("inf")) == b"early"
        far.sendall(b"late")
        assert stream.receive(float("inf")) == b"late"

    run(test)


def test_the_sweeper_ends_a_wait_that_is_over() -> None:
    def test(loop: Loop) -> None:
        stream, _far = loop.pair()
        gevent.spawn(lambda: (gevent.sleep(0), loop.deadlines.sweep()))
        with pytest.raises(DeadlinePassed):
            stream.receive(-1.0)
        assert not stream.closed

    run(test)


def test_the_sweeper_closes_what_nobody_waits_for() -> None:
    def test(loop: Loop) -> None:
        stream, far = loop.pair()
        stream.deadline = -1.0
        loop.deadlines.sweep()
        assert stream.closed
        assert far.recv(1) == b""

    run(test)


def test_everything_is_sent_to_a_slow_reader() -> None:
    def test(loop: Loop) -> None:
        stream, far = loop.tcp_pair()
        data = bytes(range(256)) * 4096
        reader = gevent.spawn(read_all, far)
        stream.send_all(data, 5.0)
        stream.finish_sending()
        assert reader.get() == data

    run(test)


def test_a_reader_that_stands_still_lets_the_deadline_pass() -> None:
    def test(loop: Loop) -> None:
        stream, _far = loop.tcp_pair()
        sweeper = gevent.spawn(lambda: [(gevent.sleep(0.01), loop.deadlines.sweep()) for _ in range(200)])
        with pytest.raises(DeadlinePassed):
            stream.send_all(b"x" * 10_000_000, 0.0)
        sweeper.kill()

    run(test)


def test_a_reset_is_seen_as_one() -> None:
    def test(loop: Loop) -> None:
        stream, far = loop.tcp_pair()
        stream.reset()
        with pytest.raises(ConnectionResetError):
            far.recv(1)

    run(test)


def test_either_of_two_wakes() -> None:
    def test(loop: Loop) -> None:
        first, first_far = loop.pair()
        second, second_far = loop.pair()
        gevent.spawn(second_far.sendall, b"x")
        assert wait_for_one(first, second, float("inf")) is second
        assert second.receive(float("inf")) == b"x"
        gevent.spawn(first_far.sendall, b"y")
        assert wait_for_one(first, second, float("inf")) is first
        wait_either(second, first, float("inf"))
        assert read_exactly(first_far, 0) == b""

    run(test)
