"""Bodies of known length: to fast clients, to slow ones through a spool, and when either side or the disk fails."""

import os
import socket
import time
from typing import Any

import gevent
import pytest

from proxy import relay as module
from proxy.errors import ClientGone, ExchangeError
from proxy.net import splice, watermark
from proxy.net import spool as spool_module
from proxy.net.splice import Pipes
from proxy.net.watermark import MARK, LowWater
from proxy.relay import RelayLimits, SizedRelay
from tests.proxy.net.loop import Loop, no_descriptor_left, read_all, read_exactly, run, until

LIMITS = RelayLimits(read_timeout=5.0, write_timeout=5.0, spool_memory=65536, spool_size=1 << 30, spool_dir=None)
BODY = os.urandom(2_000_000)


@pytest.fixture(params=["spliced", "copied"])
def _moved(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "copied":
        monkeypatch.setattr(splice, "AVAILABLE", False)
    elif not splice.AVAILABLE:
        pytest.skip("this platform has no splice")


def _no_space(*_arguments: object, **_options: object) -> int:
    raise OSError(28, os.strerror(28))


class Transfer:
    """A relay between two far ends; `sweeping` lets deadlines pass every few milliseconds."""

    def __init__(self, loop: Loop, limits: RelayLimits = LIMITS, *, spools: bool = True, ends: Any = None) -> None:
        self.loop = loop
        source, self.upstream = ends or loop.pair()
        target, self.client = loop.tcp_pair()
        self.taken = False
        self.target = target
        buffer = memoryview(bytearray(65536))
        self.relay = SizedRelay(source, target, len(BODY), Pipes(), buffer, limits, self._taken, spools=spools)

    def _taken(self) -> None:
        self.taken = True

    def start(self, pending: bytes = b"") -> Any:
        def work() -> None:
            try:
                self.relay.run(pending)
            finally:
                self.target.finish_sending()

        return gevent.spawn(work)

    def sweeping(self) -> Any:
        def sweep() -> None:
            while True:
                gevent.sleep(0.005)
                self.loop.deadlines.sweep()

        return gevent.spawn(sweep)


@pytest.mark.usefixtures("_moved")
def test_a_client_that_keeps_up_gets_everything() -> None:
    def test(loop: Loop) -> None:
        transfer = Transfer(loop)
        gevent.spawn(transfer.upstream.sendall, BODY)
        working = transfer.start(b"begun ")
        assert read_all(transfer.client) == b"begun " + BODY
        working.get()
        assert transfer.taken
        assert transfer.relay.sent == len(BODY) + 6

    run(test)


def test_a_long_body_needs_no_descriptor() -> None:
    def test(loop: Loop) -> None:
        transfer = Transfer(loop)
        sending = gevent.spawn(transfer.upstream.sendall, BODY)
        with no_descriptor_left():
            working = transfer.start()
            assert read_all(transfer.client) == BODY
            working.get()
        sending.get()

    run(test)


@pytest.mark.skipif(not splice.AVAILABLE, reason="this platform has no splice")
def test_a_fast_upstream_is_read_in_big_pieces_and_one_that_pauses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermark, "_PATIENCE", 0.2)
    first, last = BODY[:-100], BODY[-100:]

    def test(loop: Loop) -> None:
        source, upstream = loop.tcp_pair()
        transfer = Transfer(loop, ends=(source, upstream))
        marks = []
        monkeypatch.setattr(LowWater, "_set", lambda mark, value: (marks.append(value), real(mark, value)))
        sending = gevent.spawn(upstream.sendall, first)
        working = transfer.start()
        assert read_exactly(transfer.client, len(first)) == first
        sending.get()
        upstream.sendall(last)
        assert read_all(transfer.client) == last
        working.get()
        assert marks[0] == MARK
        assert source.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == marks[-1] == 1

    real = LowWater._set
    run(test)


@pytest.mark.usefixtures("_moved")
def test_a_slow_client_does_not_hold_the_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)

    def test(loop: Loop) -> None:
        transfer = Transfer(loop)
        sweeper = transfer.sweeping()
        gevent.spawn(transfer.upstream.sendall, BODY)
        working = transfer.start()
        until(lambda: transfer.taken)
        assert transfer.relay.sent < len(BODY)
        assert read_all(transfer.client) == BODY
        working.get()
        sweeper.kill()

    run(test)


@pytest.mark.usefixtures("_moved")
@pytest.mark.parametrize("where", ["at once", "midway"])
def test_a_full_disk_slows_down_but_loses_nothing(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
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

    def test(loop: Loop) -> None:
        transfer = Transfer(loop)
        sweeper = transfer.sweeping()
        gevent.spawn(transfer.upstream.sendall, BODY)
        working = transfer.start()
        gevent.sleep(0.1)
        assert not transfer.taken
        assert read_all(transfer.client) == BODY
        working.get()
        sweeper.kill()

    run(test)


@pytest.mark.usefixtures("_moved")
def test_an_empty_spool_waits_for_the_upstream_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)

    def test(loop: Loop) -> None:
        transfer = Transfer(loop)
        sweeping = transfer.sweeping()
        feeding = gevent.spawn(transfer.upstream.sendall, BODY[:-1])
        working = transfer.start()
        feeding.get()
        gevent.sleep(0.05)
        assert transfer.relay.sent < len(BODY) - 1  # the rest is in the spool
        got = 0
        while got < len(BODY) - 1:
            got += len(transfer.client.recv(1 << 20))
        sweeping.kill()
        before = time.process_time()
        gevent.sleep(0.4)
        assert time.process_time() - before < 0.2
        transfer.upstream.sendall(BODY[-1:])
        assert read_all(transfer.client) == BODY[-1:]
        working.get()

    run(test)


def test_an_answer_that_may_not_be_spooled_waits_for_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)

    def test(loop: Loop) -> None:
        transfer = Transfer(loop, spools=False)
        gevent.spawn(transfer.upstream.sendall, BODY)
        working = transfer.start()
        gevent.sleep(0.05)
        assert not transfer.taken
        assert read_all(transfer.client) == BODY
        working.get()

    run(test)


@pytest.mark.usefixtures("_moved")
def test_an_answer_cut_short_is_told() -> None:
    def test(loop: Loop) -> None:
        transfer = Transfer(loop)
        transfer.upstream.sendall(b"x" * 100_000)
        transfer.upstream.close()
        working = transfer.start()
        assert len(read_all(transfer.client)) == 100_000
        with pytest.raises(ExchangeError, match="ended early"):
            working.get()
        assert not transfer.taken

    run(test)


@pytest.mark.usefixtures("_moved")
def test_a_client_that_leaves_is_told() -> None:
    def test(loop: Loop) -> None:
        transfer = Transfer(loop)
        working = transfer.start(b"x" * 100)
        transfer.client.close()
        gevent.spawn(transfer.upstream.sendall, BODY)
        with pytest.raises(ClientGone):
            working.get()

    run(test)


@pytest.mark.usefixtures("_moved")
@pytest.mark.parametrize(("side", "reason"), [("upstream", "response_stalled"), ("client", "client_stalled")])
def test_a_side_that_stands_still_ends_it(side: str, reason: str) -> None:
    limits = RelayLimits(0.0 if side == "upstream" else 5.0, 0.0 if side == "client" else 5.0, 65536, 0, None)

    def test(loop: Loop) -> None:
        transfer = Transfer(loop, limits=limits)
        sweeper = transfer.sweeping()
        if side == "client":
            gevent.spawn(transfer.upstream.sendall, BODY)
        working = transfer.start()
        with pytest.raises(ExchangeError) as failed:
            working.get()
        assert failed.value.failure.reason == reason
        sweeper.kill()

    run(test)
