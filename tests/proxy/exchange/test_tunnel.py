"""Tunnels: bytes both ways whatever their cut, half-close, back-pressure, and close frames between frames only."""

import itertools
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import Blame
from proxy.exchange.keep_alive import Pings
from proxy.exchange.tunnel import BUFFER_SIZE, GOING_AWAY, Tunnel
from proxy.exchange.tunnel_states import TunnelState
from proxy.net import splice
from proxy.net.splice import Pipes
from tests.proxy.net.loop import Loop, in_loop, no_descriptor_left, read_all, read_exactly, undelivered, until


def frame(payload: bytes, *, masked: bool = False) -> bytes:
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x82, bit | size])
    elif size < 65536:
        head = bytes([0x82, bit | 126]) + struct.pack("!H", size)
    else:
        head = bytes([0x82, bit | 127]) + struct.pack("!Q", size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


class Ends:
    """A tunnel between two far ends."""

    def __init__(
        self,
        loop: Loop,
        *,
        idle: float = 60.0,
        half: float = 10.0,
        small: bool = False,
        framed: bool = True,
        pings: Pings | None = None,
    ) -> None:
        self.loop = loop
        make: Callable[[], Any] = self.loop.tcp_pair if small else self.loop.pair
        client, self.client = make()
        upstream, self.upstream = make()
        self.ended: list[tuple[Blame, int, int]] = []
        self.tunnel = Tunnel(
            self.loop.deadlines,
            Pipes(),
            memoryview(bytearray(BUFFER_SIZE)),
            client,
            upstream,
            framed=framed,
            pings=pings,
            idle_timeout=idle,
            half_close_timeout=half,
            ended=lambda _tunnel, *how: self.ended.append(how),
        )

    def expire(self) -> None:
        self.tunnel.deadline = -1.0
        self.loop.deadlines.sweep()


@in_loop
def test_bytes_go_both_ways_the_early_ones_first(loop: Loop) -> None:
    ends = Ends(loop)
    ends.tunnel.start(frame(b"from client", masked=True), frame(b"from upstream"))
    assert read_exactly(ends.upstream, 17) == frame(b"from client", masked=True)
    assert read_exactly(ends.client, 15) == frame(b"from upstream")
    ends.client.sendall(b"more")
    assert read_exactly(ends.upstream, 4) == b"more"


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
@in_loop
def test_a_slow_reader_gets_everything(loop: Loop, size: int) -> None:
    ends = Ends(loop, small=True)
    ends.tunnel.start(b"", b"")
    message = frame(os.urandom(size))
    gevent.spawn(ends.upstream.sendall, message * 2)
    gevent.sleep(0.05)  # a slow reader is what this is about
    assert read_exactly(ends.client, len(message) * 2) == message * 2
    assert ends.tunnel.downward.at_boundary


@in_loop
def test_half_close_is_passed_on_and_late_bytes_arrive(loop: Loop) -> None:
    ends = Ends(loop)
    ends.tunnel.start(b"", b"")
    ends.client.sendall(b"bye")
    ends.client.shutdown(1)
    assert read_all(ends.upstream) == b"bye"
    ends.upstream.sendall(b"last words")
    ends.upstream.close()
    assert read_all(ends.client) == b"last words"
    until(lambda: ends.ended)
    assert ends.ended == [(Blame.NOBODY, 10, 3)]


@in_loop
def test_a_silent_half_closed_tunnel_ends(loop: Loop) -> None:
    ends = Ends(loop, half=0.0)
    ends.tunnel.start(b"", b"")
    ends.client.shutdown(1)
    assert ends.upstream.recv(1) == b""
    ends.expire()
    assert ends.tunnel.closed
    assert ends.upstream.recv(1) == b""


def _reset(sock: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("size", [0, 1000, 200_000], ids=["silent", "small", "long"])
@pytest.mark.parametrize("lost", ["client", "upstream"])
@in_loop
def test_a_reset_takes_nothing_away_from_the_other_side(loop: Loop, lost: str, size: int) -> None:
    message = frame(os.urandom(size), masked=lost == "client") if size else b""
    ends = Ends(loop, small=True)
    ends.tunnel.start(b"", b"")
    sender, reader = (ends.client, ends.upstream) if lost == "client" else (ends.upstream, ends.client)
    sending = gevent.spawn(sender.sendall, message)
    got = read_exactly(reader, max(0, len(message) - 10_000))  # the rest is in the buffers on the way
    sending.get()
    until(lambda: undelivered(sender) == 0)
    _reset(sender)
    gevent.sleep(0.05)  # the tunnel meets the reset while its reader is slow
    assert got + read_all(reader) == message
    reader.close()
    until(lambda: ends.ended)
    assert [how[0] for how in ends.ended] == [Blame.CLIENT if lost == "client" else Blame.UPSTREAM]


@pytest.mark.parametrize("size", [0, 1000, 200_000], ids=["silent", "small", "long"])
@in_loop
def test_a_reset_is_passed_on_where_no_frame_shows_it(loop: Loop, size: int) -> None:
    """An end would tell `docker exec -i` that its input is complete."""
    message = os.urandom(size)
    ends = Ends(loop, small=True, framed=False)
    ends.tunnel.start(b"", b"")
    sending = gevent.spawn(ends.client.sendall, message)
    got = read_exactly(ends.upstream, max(0, size - 10_000))
    sending.get()
    until(lambda: undelivered(ends.client) == 0)
    _reset(ends.client)
    gevent.sleep(0.05)  # the tunnel meets the reset while its reader is slow
    got += read_exactly(ends.upstream, size - len(got))
    ends.expire()
    with pytest.raises(ConnectionResetError):
        ends.upstream.recv(1)
    assert got == message
    until(lambda: ends.ended)
    assert [how[0] for how in ends.ended] == [Blame.CLIENT]


@in_loop
def test_what_is_said_to_a_side_that_was_reset_is_dropped(loop: Loop) -> None:
    ends = Ends(loop, small=True)
    ends.tunnel.start(b"", b"")
    sending = gevent.spawn(ends.upstream.sendall, frame(b"y" * 200_000))
    until(lambda: not ends.tunnel.downward.delivered)
    _reset(ends.client)
    assert ends.upstream.recv(1) == b""
    sending.get()
    ends.upstream.close()
    until(lambda: ends.ended)
    assert [how[0] for how in ends.ended] == [Blame.CLIENT]


@in_loop
def test_tunnel_side_is_left_some_time_after_a_reset(loop: Loop) -> None:
    ends = Ends(loop, small=True)
    ends.tunnel.start(b"", b"")
    _reset(ends.client)
    assert ends.upstream.recv(1) == b""
    ends.expire()
    assert ends.tunnel.closed


@in_loop
def test_an_idle_tunnel_is_told_to_go(loop: Loop) -> None:
    ends = Ends(loop, idle=0.0)
    ends.tunnel.start(b"", b"")
    ends.expire()
    assert read_all(ends.client) == b"\x88\x02" + struct.pack("!H", GOING_AWAY)
    assert read_exactly(ends.upstream, 2) == b"\x88\x82"
    ends.client.close()
    ends.upstream.close()
    until(lambda: ends.ended)
    assert [how[0] for how in ends.ended] == [Blame.DRAIN]


@in_loop
def test_a_busy_tunnel_is_not_idle(loop: Loop) -> None:
    ends = Ends(loop, idle=0.0)
    ends.tunnel.start(frame(b"x", masked=True), b"")
    ends.expire()
    assert ends.tunnel.state is TunnelState.OPEN


@in_loop
def test_a_close_frame_waits_for_the_end_of_the_frame(loop: Loop) -> None:
    ends = Ends(loop)
    ends.tunnel.start(b"", b"")
    message = frame(b"y" * 300)
    ends.upstream.sendall(message[:100])
    assert read_exactly(ends.client, 100) == message[:100]
    ends.tunnel.shut(GOING_AWAY, 5.0)
    ends.upstream.sendall(message[100:])
    assert read_all(ends.client) == message[100:] + b"\x88\x02\x03\xe9"
    ends.tunnel.shut(GOING_AWAY, 5.0)
    ends.expire()
    assert ends.tunnel.closed


@pytest.mark.parametrize("behind", [b"\x82", frame(b"another"), frame(b"half")[:-2]])
@in_loop
def test_a_close_frame_does_not_wait_for_a_pause(loop: Loop, behind: bytes) -> None:
    ends = Ends(loop)
    ends.tunnel.start(b"", b"")
    message = frame(b"y" * 300)
    ends.upstream.sendall(message[:100])
    assert read_exactly(ends.client, 100) == message[:100]
    ends.tunnel.shut(GOING_AWAY, 5.0)
    ends.upstream.sendall(message[100:] + behind)
    assert read_all(ends.client) == message[100:] + b"\x88\x02\x03\xe9"


@in_loop
def test_close_frame_follows_a_spliced_frame(loop: Loop) -> None:
    ends = Ends(loop)
    ends.tunnel.start(b"", b"")
    message = frame(b"y" * 100_000)
    ends.upstream.sendall(message[:100])
    assert read_exactly(ends.client, 100) == message[:100]
    ends.tunnel.shut(GOING_AWAY, 5.0)
    ends.upstream.sendall(message[100:])
    assert read_all(ends.client) == message[100:] + b"\x88\x02\x03\xe9"


@in_loop
def test_a_long_frame_needs_no_descriptor(loop: Loop) -> None:
    ends = Ends(loop)
    ends.tunnel.start(b"", b"")
    message = frame(b"y" * 200_000)
    with no_descriptor_left():
        ends.upstream.sendall(message[:100])
        assert read_exactly(ends.client, 100) == message[:100]
        sending = gevent.spawn(ends.upstream.sendall, message[100:])
        assert read_exactly(ends.client, len(message) - 100) == message[100:]
        sending.get()


@pytest.mark.skipif(not splice.AVAILABLE, reason="this platform has no splice")
@in_loop
def test_a_reset_within_a_long_frame_leaves_no_descriptor_open(loop: Loop) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    ends = Ends(loop, small=True)
    ends.tunnel.start(b"", b"")
    message = frame(b"y" * 200_000)
    ends.upstream.sendall(message[:100])
    assert read_exactly(ends.client, 100) == message[:100]
    ends.upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ends.upstream.close()
    assert read_all(ends.client) == b""
    ends.client.close()
    until(lambda: ends.tunnel.closed)
    ends.tunnel.pipes.close()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


@in_loop
def test_a_peer_that_never_ends_its_frame_is_cut_off(loop: Loop) -> None:
    ends = Ends(loop)
    ends.tunnel.start(b"", b"")
    ends.upstream.sendall(b"\x82")
    assert read_exactly(ends.client, 1) == b"\x82"
    ends.tunnel.shut(GOING_AWAY, 5.0)
    ends.expire()
    assert ends.tunnel.closed


@pytest.mark.parametrize("size", [126, 127, 200, 70_000])
@in_loop
def test_the_length_mark_of_a_long_frame_is_no_length(loop: Loop, size: int) -> None:
    """A read that is just as long as a small frame with that mark would be."""
    ends = Ends(loop)
    ends.tunnel.start(b"", b"")
    message = frame(b"m" * size)
    cut = 2 + (message[1] & 0x7F)
    ends.upstream.sendall(message[:cut])
    assert read_exactly(ends.client, cut) == message[:cut]
    assert not ends.tunnel.downward.at_boundary
    ends.upstream.sendall(message[cut:])
    read_exactly(ends.client, len(message) - cut)
    assert ends.tunnel.downward.at_boundary


@in_loop
def test_a_side_without_frames_may_end_long_before_the_other(loop: Loop) -> None:
    ends = Ends(loop, half=0.0, framed=False)
    ends.tunnel.start(b"", b"")
    ends.client.sendall(b"input")
    ends.client.shutdown(1)
    assert read_all(ends.upstream) == b"input"
    ends.expire()
    ends.expire()
    assert ends.tunnel.state is TunnelState.HALF_CLOSED
    ends.upstream.sendall(b"result")
    ends.upstream.close()
    assert read_all(ends.client) == b"result"
    until(lambda: ends.ended)
    assert ends.ended == [(Blame.NOBODY, 6, 5)]


@in_loop
def test_a_half_closed_tunnel_on_which_bytes_pass_goes_on(loop: Loop) -> None:
    ends = Ends(loop, half=0.0)
    ends.tunnel.start(b"", b"")
    ends.client.shutdown(1)
    assert ends.upstream.recv(1) == b""
    ends.upstream.sendall(b"more")
    assert read_exactly(ends.client, 4) == b"more"
    ends.expire()
    assert not ends.tunnel.closed
    ends.expire()
    assert ends.tunnel.closed


@pytest.mark.parametrize("size", [10, 300_000])
@in_loop
def test_without_frames_both_sides_get_an_end_alone(loop: Loop, size: int) -> None:
    ends = Ends(loop, framed=False)
    ends.tunnel.start(b"\x88\x02", b"")
    sending = gevent.spawn(ends.upstream.sendall, b"y" * size)
    assert read_exactly(ends.client, size) == b"y" * size
    sending.get()
    ends.tunnel.shut(GOING_AWAY, 5.0)
    assert read_all(ends.client) == b""
    assert read_all(ends.upstream) == b"\x88\x02"
    ends.client.close()
    ends.upstream.close()
    until(lambda: ends.ended)
    assert ends.ended == [(Blame.DRAIN, size, 2)]


@settings(max_examples=120)
@given(
    st.lists(st.sampled_from([0, 1, 5, 125, 126, 127, 400, 65535, 65536, 70000]), min_size=1, max_size=5),
    st.lists(st.integers(0, 300_000), max_size=6),
    st.booleans(),
)
@in_loop
def test_boundaries_are_found_however_the_frames_are_cut(
    loop: Loop, sizes: list[int], cuts: list[int], masked: bool
) -> None:
    ends = Ends(loop)
    direction = ends.tunnel.upward if masked else ends.tunnel.downward
    frames = [frame(b"z" * size, masked=masked) for size in sizes]
    edges = {0}
    for one in frames:
        edges.add(max(edges) + len(one))
    stream = b"".join(frames)
    positions = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(positions):
        direction.follow(memoryview(stream[start:end]))
        assert direction.at_boundary == (end in edges)
