"""Bodies on their way to fast clients, to slow ones through a spool, and when either side or the disk fails.

However a body is framed, on either side, the relay is the same: each test runs over all ways.
"""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import gevent
import pytest

from proxy.errors import ClientGone, ExchangeError
from proxy.exchange import relay as module
from proxy.exchange.delivery import PaceLimits
from proxy.exchange.intake import Intake, Recoding
from proxy.exchange.relay import Relay, RelayLimits
from proxy.net import splice, watermark
from proxy.net import spool as spool_module
from proxy.net.splice import Pipes
from proxy.net.watermark import MARK, LowWater
from proxy.wire.body import RESPONSE_SIZE, ChunkedDecoder, ClosedDecoder, Decoder, SizedDecoder
from tests.proxy.net.loop import Loop, in_loop, no_descriptor_left, read_all, read_exactly, undelivered, until

LIMITS = RelayLimits(5.0, PaceLimits(5.0, 0), spool_memory=65536, spool_size=1 << 30, spool_dir=None)
BODY = os.urandom(2_000_000)


def chunked(data: bytes) -> bytes:
    """A body in chunks of 10,000 bytes, without the last one."""
    pieces = [data[begin : begin + 10_000] for begin in range(0, len(data), 10_000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


class Marking:
    """An encoder that changes nothing, and says so at the end."""

    def feed(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""

    def finish(self) -> bytes:
        return b""


class Way(NamedTuple):
    """How a body comes and goes: `sent` of the upstream, `end` behind it, `decoder`; whether chunks are made of it."""

    sent: Callable[[bytes], bytes]
    end: bytes
    decoder: Callable[[int], Decoder]
    rechunked: bool = False
    recoded: bool = False


WAYS = {
    "sized": Way(bytes, b"", SizedDecoder),
    "chunked": Way(chunked, b"0\r\n\r\n", lambda _length: ChunkedDecoder(RESPONSE_SIZE), rechunked=True),
    "chunked, for HTTP/1.0": Way(chunked, b"0\r\n\r\n", lambda _length: ChunkedDecoder(RESPONSE_SIZE)),
    "closed": Way(bytes, b"", lambda _length: ClosedDecoder(), rechunked=True),
    "encoded": Way(bytes, b"", SizedDecoder, rechunked=True, recoded=True),
}


@pytest.fixture(params=["sized, spliced", *WAYS])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    name = request.param.removesuffix(", spliced")
    if request.param != "sized, spliced":
        monkeypatch.setattr(splice, "AVAILABLE", False)
    elif not splice.AVAILABLE:
        pytest.skip("this platform has no splice")
    return WAYS[name]


def _no_space(*_arguments: object, **_options: object) -> int:
    raise OSError(28, os.strerror(28))


class Transfer:
    """A relay between two far ends; `sweeping` lets deadlines pass every few milliseconds."""

    def __init__(
        self,
        loop: Loop,
        way: Way,
        limits: RelayLimits = LIMITS,
        *,
        spools: bool = True,
        ends: Any = None,
        target: Any = None,
    ) -> None:
        self.loop = loop
        self.way = way
        source, self.upstream = ends or loop.pair()
        target, self.client = target or loop.tcp_pair()
        self.taken = False
        self.target = target
        self.buffer = memoryview(bytearray(65536))
        self.intake = Intake(
            source,
            way.decoder(len(BODY)),
            limits.read_timeout,
            buffer=self.buffer,
            recoding=Recoding(Marking(), flushes=False) if way.recoded else None,
            taken=self._taken,
        )
        self.relay = Relay(self.intake, target, self._framed if way.rechunked else None, Pipes(), limits, spools=spools)

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    def _taken(self, clean: bool) -> None:
        self.taken = clean

    def send(self, data: bytes = BODY, *, whole: bool = True) -> Any:
        """Let the upstream send a body, and its end."""

        def work() -> None:
            self.upstream.sendall(self.way.sent(data) + (self.way.end if whole else b""))
            if whole and self.way is WAYS["closed"]:
                self.upstream.shutdown(socket.SHUT_WR)

        return gevent.spawn(work)

    def start(self, pending: bytes = b"") -> Any:
        def work() -> None:
            try:
                self.relay.run(pending)
            finally:
                self.target.finish_sending()

        return gevent.spawn(work)

    def got(self) -> bytes:
        """The body that the client gets, to its end."""
        return self.decoded(read_all(self.client))

    def decoded(self, data: bytes) -> bytes:
        if not self.way.rechunked:
            return data
        return ChunkedDecoder().feed(data)

    def sweeping(self) -> Any:
        return self.loop.sweeping()


@in_loop
def test_a_client_that_keeps_up_gets_everything(loop: Loop, way: Way) -> None:
    transfer = Transfer(loop, way)
    transfer.send()
    pending = b"6\r\nbegun \r\n" if way.rechunked else b"begun "
    working = transfer.start(pending)
    data = read_all(transfer.client)
    assert transfer.decoded(data) == b"begun " + BODY
    working.get()
    assert transfer.taken
    assert transfer.relay.sent == len(data)


@in_loop
def test_a_long_body_needs_no_descriptor(loop: Loop) -> None:
    transfer = Transfer(loop, WAYS["sized"])
    sending = transfer.send()
    with no_descriptor_left():
        working = transfer.start()
        assert transfer.got() == BODY
        working.get()
    sending.get()


@pytest.mark.skipif(not splice.AVAILABLE, reason="this platform has no splice")
@in_loop
def test_low_watermark_follows_the_upstream_pace(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermark, "_PATIENCE", 0.2)
    first, last = BODY[:-100], BODY[-100:]
    real = LowWater._set
    source, upstream = loop.tcp_pair()
    transfer = Transfer(loop, WAYS["sized"], ends=(source, upstream))
    marks = []
    monkeypatch.setattr(LowWater, "_set", lambda mark, value: (marks.append(value), real(mark, value)))
    sending = transfer.send(first)
    working = transfer.start()
    assert read_exactly(transfer.client, len(first)) == first
    sending.get()
    upstream.sendall(last)
    assert read_all(transfer.client) == last
    working.get()
    assert marks[0] == MARK
    assert source.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == marks[-1] == 1


@in_loop
def test_a_slow_client_does_not_hold_the_upstream(loop: Loop, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    transfer = Transfer(loop, way)
    sweeper = transfer.sweeping()
    transfer.send()
    working = transfer.start()
    until(lambda: transfer.taken)
    assert transfer.relay.sent < len(BODY)
    assert transfer.got() == BODY
    working.get()
    sweeper.stop()


@in_loop
def test_what_is_kept_for_a_client_is_bounded(loop: Loop, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    transfer = Transfer(loop, way, replace(LIMITS, spool_size=500_000))
    sweeper = transfer.sweeping()
    sending = transfer.send()
    working = transfer.start()
    gevent.sleep(0.1)  # nothing tells that no more is taken
    assert not sending.ready()
    assert transfer.got() == BODY
    working.get()
    sweeper.stop()


@pytest.mark.parametrize("where", ["at once", "midway"])
@in_loop
def test_a_full_disk_slows_down_but_loses_nothing(
    loop: Loop, way: Way, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    if where == "at once":
        monkeypatch.setattr(spool_module.tempfile, "TemporaryFile", _no_space)
    else:
        written = [0]
        real = os.pwrite

        def pwrite(file: int, data: Any, offset: int) -> int:
            written[0] += len(data)
            return _no_space() if written[0] > 500_000 else real(file, data, offset)

        monkeypatch.setattr(spool_module.os, "pwrite", pwrite)
    transfer = Transfer(loop, way)
    sweeper = transfer.sweeping()
    transfer.send()
    working = transfer.start()
    gevent.sleep(0.1)  # a slow client: its bytes go where there is room
    transfer.buffer[:] = bytes(len(transfer.buffer))  # another exchange has its turn
    assert not transfer.taken
    assert transfer.got() == BODY
    working.get()
    sweeper.stop()


@in_loop
def test_an_empty_spool_waits_for_the_upstream_in_peace(loop: Loop, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    transfer = Transfer(loop, way)
    sweeper = transfer.sweeping()
    feeding = transfer.send(BODY[:-1], whole=False)
    working = transfer.start()
    feeding.get()
    gevent.sleep(0.05)  # a slow client: the rest goes to the spool
    assert transfer.relay.sent < len(BODY) - 1  # the rest is in the spool
    got = b""
    while len(transfer.decoded(got)) < len(BODY) - 1:
        got += transfer.client.recv(1 << 20)
    sweeper.stop()
    before = time.process_time()
    gevent.sleep(0.4)  # the time over which the processor's is measured
    assert time.process_time() - before < 0.2
    transfer.send(BODY[-1:])
    assert transfer.decoded(got + read_all(transfer.client)) == BODY
    working.get()


@in_loop
def test_an_answer_that_may_not_be_spooled_waits_for_its_client(
    loop: Loop, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    transfer = Transfer(loop, way, spools=False)
    transfer.send()
    working = transfer.start()
    gevent.sleep(0.05)  # nothing tells that nothing is spooled
    assert not transfer.taken
    assert transfer.got() == BODY
    working.get()


# An upstream that breaks off takes nothing away from the client.

UNFINISHED = [name for name in WAYS if name != "closed"]


@pytest.mark.parametrize("slow", [False, True], ids=["fast client", "slow client"])
@pytest.mark.parametrize("ends", ["closes", "resets", "stalls"])
@pytest.mark.parametrize("name", ["sized, spliced", *UNFINISHED])
@in_loop
def test_received_bytes_are_delivered_before_the_break(
    loop: Loop, name: str, ends: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spliced = name == "sized, spliced"
    if not spliced:
        monkeypatch.setattr(splice, "AVAILABLE", False)
    if slow:
        monkeypatch.setattr(module, "PATIENCE", 0.0)
    part = BODY[:500_000]
    limits = replace(LIMITS, read_timeout=0.3 if ends == "stalls" else 5.0)
    transfer = Transfer(loop, WAYS["sized" if spliced else name], limits, ends=loop.tcp_pair())
    sweeper = transfer.sweeping()
    feeding = transfer.send(part, whole=False)
    working = transfer.start()
    if slow:
        feeding.get()
        gevent.sleep(0.02)  # a slow client
    if ends != "stalls":
        feeding.join()
        until(lambda: working.ready() or not undelivered(transfer.upstream))
        transfer.upstream.close() if ends == "closes" else _reset(transfer.upstream)
    if slow:
        gevent.sleep(0.05)  # a slow client: the upstream's end comes first
    assert transfer.got() == part
    with pytest.raises(ExchangeError) as failed:
        working.get()
    assert failed.value.failure.reason == ("response_stalled" if ends == "stalls" else "truncated")
    assert not transfer.taken
    sweeper.stop()


def _reset(sock: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()


@pytest.mark.parametrize("rechunked", [False, True])
@in_loop
def test_what_came_before_a_broken_chunk_is_delivered(loop: Loop, rechunked: bool) -> None:
    transfer = Transfer(loop, WAYS["chunked" if rechunked else "chunked, for HTTP/1.0"])
    transfer.upstream.sendall(b"5\r\nfirst\r\n4\r\nlast\r\nno size\r\n")
    working = transfer.start()
    assert transfer.got() == b"firstlast"
    with pytest.raises(ExchangeError, match="chunk size"):
        working.get()


@in_loop
def test_a_client_that_leaves_is_told(loop: Loop, way: Way) -> None:
    transfer = Transfer(loop, way)
    working = transfer.start(b"x" * 100)
    transfer.client.close()
    transfer.send()
    with pytest.raises(ClientGone):
        working.get()


@pytest.mark.parametrize(("side", "reason"), [("upstream", "response_stalled"), ("client", "client_stalled")])
@in_loop
def test_a_side_that_stands_still_ends_it(loop: Loop, way: Way, side: str, reason: str) -> None:
    pace = PaceLimits(0.0 if side == "client" else 5.0, 0)
    limits = RelayLimits(0.0 if side == "upstream" else 5.0, pace, 65536, 0, None)
    transfer = Transfer(loop, way, limits=limits)
    sweeper = transfer.sweeping()
    if side == "client":
        transfer.send()
    working = transfer.start()
    with pytest.raises(ExchangeError) as failed:
        working.get()
    assert failed.value.failure.reason == reason
    sweeper.stop()


# The least rate at which a client must take what waits for it.


@pytest.mark.parametrize("kept", [False, True], ids=["held", "kept"])
@in_loop
def test_a_client_that_takes_next_to_nothing_is_left(
    loop: Loop, way: Way, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    limits = replace(LIMITS, pace=PaceLimits(0.5, 1 << 20), spool_size=1 << 30 if kept else 0)
    transfer = Transfer(loop, way, limits)
    sweeper = transfer.sweeping()
    transfer.send()
    working = transfer.start()
    began = time.monotonic()
    while not working.ready() and time.monotonic() < began + 10:
        transfer.client.recv(2000)  # never nothing for long
        gevent.sleep(0.02)  # a slow client is what this is about
    with pytest.raises(ExchangeError) as failed:
        working.get()
    assert failed.value.failure.reason == "client_stalled"
    assert "min_read_rate" in failed.value.detail
    assert transfer.relay.sent < len(BODY)
    sweeper.stop()


@in_loop
def test_a_client_that_pauses_within_the_timeout_is_not_too_slow(
    loop: Loop, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    limits = replace(LIMITS, pace=PaceLimits(0.5, 100_000))
    transfer = Transfer(loop, way, limits)
    sweeper = transfer.sweeping()
    transfer.send()
    working = transfer.start()
    got = b""
    for _ in range(5):
        gevent.sleep(0.25)  # a client that pauses is what this is about
        got += read_exactly(transfer.client, 100_000)
    assert transfer.decoded(got + read_all(transfer.client)) == BODY
    working.get()
    sweeper.stop()


@in_loop
def test_steady_reader_with_a_full_socket_is_not_too_slow(loop: Loop) -> None:
    limits = replace(LIMITS, pace=PaceLimits(0.3, 1000), spool_size=0)
    target, client = loop.tcp_pair(receives=1 << 16, sends=2 << 20)
    transfer = Transfer(loop, WAYS["closed"], limits, target=(target, client))
    sweeper = transfer.sweeping()
    transfer.send(BODY * 5)
    working = transfer.start()
    got = []
    for _ in range(100):
        got.append(client.recv(20_000))
        gevent.sleep(0.01)  # a steady but slow client is what this is about
    assert not working.ready()
    assert transfer.decoded(b"".join([*got, read_all(client)])) == BODY * 5
    working.get()
    sweeper.stop()
