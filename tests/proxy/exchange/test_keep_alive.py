"""Pings of the gateway's own: where they are put, what answers them, and what becomes of a side that does not."""

import struct
from typing import Any

import gevent
import pytest

from proxy.errors import Blame
from proxy.exchange.keep_alive import Pings
from proxy.exchange.tunnel import UNEXPECTED
from proxy.exchange.tunnel_states import TunnelState
from proxy.wire.frames import ping_frame
from tests.proxy.exchange.test_tunnel import Ends, frame
from tests.proxy.net.loop import Loop, in_loop, read_all, read_exactly, until

AT_ONCE = Pings(0.0, 0.0, client=True, upstream=True)
PATIENT = AT_ONCE._replace(timeout=60.0)
TO_CLIENT = PATIENT._replace(upstream=False)
PING = 10
MASKED_PING = 14


def masked(opcode: int, payload: bytes) -> bytes:
    """A control frame of a client; its mask is zero."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload


def asked(client: Any) -> bytes:
    """The payload of the ping that the client gets next."""
    ping = read_exactly(client, PING)
    assert ping[:2] == b"\x89\x08"
    return ping[2:]


@in_loop
def test_a_pong_to_our_ping_is_not_passed_on(loop: Loop) -> None:
    ends = Ends(loop, pings=TO_CLIENT)
    ends.tunnel.start(b"", b"")
    ends.expire()
    payload = asked(ends.client)
    ends.client.sendall(masked(0xA, payload) + masked(0xA, b"own") + frame(b"said", masked=True))
    assert read_exactly(ends.upstream, 19) == masked(0xA, b"own") + frame(b"said", masked=True)
    ends.expire()
    ends.expire()
    assert asked(ends.client) == payload
    assert ends.tunnel.state is TunnelState.OPEN


@in_loop
def test_the_application_gets_masked_pings(loop: Loop) -> None:
    ends = Ends(loop, pings=PATIENT._replace(client=False))
    ends.tunnel.start(b"", b"")
    ends.expire()
    ping = read_exactly(ends.upstream, MASKED_PING)
    assert ping[:2] == b"\x89\x88"
    payload = bytes(byte ^ ping[2 + place % 4] for place, byte in enumerate(ping[6:]))
    for byte in b"\x8a\x08" + payload + frame(b"said"):
        ends.upstream.sendall(bytes((byte,)))
        gevent.sleep(0)
    assert read_exactly(ends.client, 6) == frame(b"said")


@pytest.mark.parametrize("size", [300, 300_000])
@pytest.mark.parametrize("final", [True, False], ids=["whole", "fragmented"])
@in_loop
def test_a_ping_waits_for_the_end_of_a_message(loop: Loop, size: int, final: bool) -> None:
    ends = Ends(loop, pings=TO_CLIENT)
    ends.tunnel.start(b"", b"")
    message = frame(b"y" * size)
    if not final:
        message = b"\x42" + message[1:]  # the first of several frames, compressed
    ends.upstream.sendall(message[:100])
    assert read_exactly(ends.client, 100) == message[:100]
    ends.expire()
    sending = gevent.spawn(ends.upstream.sendall, message[100:])
    assert read_exactly(ends.client, len(message) - 100) == message[100:]
    sending.get()
    if not final:
        ends.expire()
        between = b"\x89\x02hi\x00\x01z"  # a ping of its own, and another fragment
        ends.upstream.sendall(between)
        assert read_exactly(ends.client, len(between)) == between
        ends.expire()
        ends.upstream.sendall(b"\x80\x00")
        assert read_exactly(ends.client, 2) == b"\x80\x00"
        ends.client.sendall(masked(0xA, b"hi"))
        assert read_exactly(ends.upstream, 8) == masked(0xA, b"hi")
        ends.expire()
        ends.expire()
    asked(ends.client)


@pytest.mark.parametrize("side", ["client", "upstream"])
@in_loop
def test_a_side_that_does_not_answer_ends_the_tunnel(loop: Loop, side: str) -> None:
    ends = Ends(loop, pings=AT_ONCE._replace(client=side == "client", upstream=side == "upstream"))
    ends.tunnel.start(b"", b"")
    ends.expire()
    ends.expire()
    close = b"\x88\x15" + struct.pack("!H", UNEXPECTED) + b"no answer to a ping"
    told = read_all(ends.client)
    assert told[-len(close) :] == close
    assert len(told) == len(close) + (PING if side == "client" else 0)
    ends.client.close()
    ends.upstream.close()
    until(lambda: ends.ended)
    assert [how[0] for how in ends.ended] == [Blame.CLIENT_SLOW if side == "client" else Blame.UPSTREAM_SLOW]


@in_loop
def test_whatever_a_side_sends_is_an_answer(loop: Loop) -> None:
    ends = Ends(loop, pings=AT_ONCE._replace(upstream=False))
    ends.tunnel.start(b"", b"")
    for _ in range(3):
        ends.expire()
        asked(ends.client)
        ends.client.sendall(b"\x82")  # a frame that has only begun
        ends.client.sendall(b"\x81\0\0\0\0x")
        assert read_exactly(ends.upstream, 7) == frame(b"x", masked=True)
        ends.expire()
        assert ends.tunnel.state is TunnelState.OPEN


@in_loop
def test_the_applications_own_ping_asks_as_well(loop: Loop) -> None:
    ends = Ends(loop, pings=AT_ONCE._replace(upstream=False))
    ends.tunnel.start(b"", b"\x89\x02hi")
    ends.expire()
    assert read_exactly(ends.client, 4) == b"\x89\x02hi"
    ends.expire()
    assert read_all(ends.client)[:4] == b"\x88\x15" + struct.pack("!H", UNEXPECTED)


@in_loop
def test_a_side_that_we_do_not_read_is_not_judged(loop: Loop) -> None:
    """Its pong waits behind what the other side does not take."""
    ends = Ends(loop, small=True, pings=AT_ONCE._replace(client=False))
    ends.tunnel.start(b"", b"")
    sending = gevent.spawn(ends.upstream.sendall, frame(b"y" * 3_000_000))
    until(lambda: not ends.tunnel.downward.delivered)
    for _ in range(4):
        ends.expire()
    assert ends.tunnel.state is TunnelState.OPEN
    sending.kill()


@in_loop
def test_a_side_that_takes_nothing_of_a_message_is_left(loop: Loop) -> None:
    ends = Ends(loop, small=True, pings=AT_ONCE._replace(upstream=False))
    ends.tunnel.start(b"", b"")
    sending = gevent.spawn(ends.upstream.sendall, frame(b"y" * 3_000_000))
    until(lambda: not ends.tunnel.downward.delivered)
    ends.expire()
    assert ends.tunnel.state is TunnelState.OPEN
    ends.expire()
    assert ends.tunnel.state is TunnelState.CLOSING
    ends.expire()
    assert ends.ended[0][0] is Blame.CLIENT_SLOW
    sending.kill()


@in_loop
def test_a_message_that_its_sender_does_not_end_is_waited_for(loop: Loop) -> None:
    ends = Ends(loop, pings=AT_ONCE._replace(upstream=False))
    ends.tunnel.start(b"", b"\x82\x05half")
    for _ in range(4):
        ends.expire()
    assert ends.tunnel.state is TunnelState.OPEN


@in_loop
def test_pings_do_not_count_as_data(loop: Loop) -> None:
    ends = Ends(loop, idle=0.0, pings=PATIENT)
    ends.tunnel.start(b"", b"")
    ends.tunnel.upward.insert(ping_frame(b"x", masked=True))
    ends.expire()
    assert ends.tunnel.state is TunnelState.CLOSING
