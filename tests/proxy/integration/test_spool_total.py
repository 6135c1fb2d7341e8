"""The total of what bodies take on disk: where it ends uploads are refused, and responses wait for their clients."""

import gzip
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hyperframe.frame import DataFrame

from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.h2.raw import POST, Raw
from tests.proxy.integration.scripted import OK, Script, ScriptedUpstream, read_request
from tests.waiting import until

Start = Callable[..., Gateway]
GET = b"GET /a HTTP/1.1\r\nHost: case.example\r\n\r\n"
SIZE = 60_000_000  # more than a system takes of one connection by itself: tcp_rmem may be 32 MiB, tcp_wmem 4
TOTAL = 4 << 20
PIECE = 1 << 20


def spooled(gateway: Gateway) -> int:
    """Bytes on disk, as the metrics have them."""
    return int(_metric(gateway, "spooled_bytes"))


def _metric(gateway: Gateway, name: str) -> float:
    with Client(gateway.admin) as client:
        client.send(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        found = re.search(rf"(?m)^aragora_proxy_{name} (\S+)$", client.answer().body.decode())
    assert found, name
    return float(found[1])


def test_an_upload_that_does_not_fit_is_refused_before_it_comes(scripted: ScriptedUpstream, start: Start) -> None:
    scripted.expect()
    gateway = start(scripted.address, "--spool-total", "1m", admin=True)
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.field("Retry-After")) == (503, "30")
        assert "spool" in (answer.field("Proxy-Status") or "")
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
        assert client.answer().status == 200
    assert [len(received.data) > 1_000_000 for received in scripted.received] == [True]
    until(lambda: spooled(gateway) == 0, "room on disk again")
    assert _metric(gateway, "spools_refused_total") == 1


def test_nor_does_one_of_unknown_length_outgrow_it(scripted: ScriptedUpstream, start: Start) -> None:
    scripted.expect()
    gateway = start(scripted.address, "--spool-total", "1m", admin=True)
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"%x\r\n%b\r\n" % (2_000_000, bytes(2_000_000)))
        assert client.answer().status == 503
    assert scripted.received == []
    until(lambda: spooled(gateway) == 0, "room on disk again")


@pytest.mark.parametrize("announced", [True, False])
def test_over_http_2_it_is_the_same(scripted: ScriptedUpstream, start: Start, announced: bool) -> None:
    scripted.expect()
    gateway = start(scripted.address, "--spool-total", "200k", "--h2c", "on", admin=True)
    fields = [*POST, ("content-length", "250000")] if announced else POST
    with Raw(gateway.port) as client:
        client.send(client.open(1, fields))
        if not announced:
            for _ in range(25):
                client.send(DataFrame(1, data=bytes(10_000)))
        assert client.response(1)[0][":status"] == "503"
    assert scripted.received == []
    until(lambda: spooled(gateway) == 0, "room on disk again")


class Fountain:
    """An upstream with long responses for everybody, which counts what was taken off it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.finished = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()
        except OSError:
            pass

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock:
                request, _ = read_request(sock, b"")
                if request.startswith(b"GET"):
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
                    for number in range(SIZE // 100_000):
                        sock.sendall(bytes([number % 256]) * 100_000)
                    self.finished += 1
                else:
                    sock.sendall(OK)
        except OSError:
            pass


@pytest.fixture
def fountain() -> Iterator[Fountain]:
    made = Fountain()
    yield made
    made.listener.shutdown(socket.SHUT_RDWR)
    made.listener.close()


def reader(gateway: Gateway) -> Client:
    """A client that has asked and does not read yet."""
    client = Client(gateway.address)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(GET)
    return client


def test_full_spool_makes_responses_wait_and_uploads_fit(fountain: Fountain, start: Start) -> None:
    gateway = start(fountain.address, "--spool-total", str(TOTAL), admin=True, workers=2)
    with ExitStack() as stack:
        readers = [stack.enter_context(reader(gateway)) for _ in range(4)]
        until(lambda: _metric(gateway, "spools_refused_total") >= len(readers), "nothing more is spooled")
        assert TOTAL / 2 - 4 * PIECE < spooled(gateway) <= TOTAL / 2 + 2 * PIECE
        assert fountain.finished == 0
        with Client(gateway.address) as client:
            client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000))
            assert client.answer().status == 200
        for client in readers:
            answer = client.answer()
            assert (answer.status, answer.whole, len(answer.body)) == (200, True, SIZE)
            assert answer.body == b"".join(bytes([number % 256]) * 100_000 for number in range(SIZE // 100_000))
    until(lambda: spooled(gateway) == 0, "room on disk again")


def test_what_a_killed_worker_had_is_room_again(fountain: Fountain, start: Start) -> None:
    gateway = start(fountain.address, "--spool-total", str(TOTAL), admin=True, workers=2)
    with ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(reader(gateway))
        until(lambda: _metric(gateway, "spools_refused_total") >= 6, "nothing more is spooled")
        killed = gateway.workers()
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        until(lambda: len(set(gateway.workers()) - set(killed)) == 2, "other workers in their place")
        until(lambda: spooled(gateway) == 0, "room on disk again")
        with Client(gateway.address) as client:
            client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000))
            assert client.answer().status == 200


def test_a_reload_changes_it(scripted: ScriptedUpstream, start: Start, tmp_path: Path) -> None:
    scripted.expect()
    file = tmp_path / "gateway.toml"
    file.write_text('spool_total = "off"\n')
    gateway = start(scripted.address, "--config", str(file), admin=True)

    def status() -> int:
        with Client(gateway.address) as client:
            client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000))
            return client.answer().status

    assert status() == 200
    file.write_text('spool_total = "1m"\n')
    gateway.signal(signal.SIGHUP)
    until(lambda: status() == 503, "the reload")


# Two megabytes whose compressed form does not fit in memory.
TEXT = os.urandom(1_000_000).hex().encode()


@pytest.mark.parametrize("pieces", [1, 7])
def test_what_is_compressed_goes_on_without_it(
    scripted: ScriptedUpstream, start: Start, tmp_path: Path, pieces: int
) -> None:
    text = TEXT[: len(TEXT) // pieces]
    scripted.expect(
        Script(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
    )
    gateway = start(scripted.address, "--spool-total", "200k", "--compress", "on", admin=True)
    for version in (b"1.1", b"1.0"):
        with Client(gateway.address) as client:
            client.send(b"GET /a HTTP/%b\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n" % version)
            answer = client.answer()
            assert (answer.status, answer.field("Content-Encoding"), answer.whole) == (200, "gzip", True)
            assert gzip.decompress(answer.body) == text
    until(lambda: spooled(gateway) == 0, "room on disk again")
    assert _metric(gateway, "spools_refused_total") == 2


def test_a_file_that_cannot_be_kept_compressed_is_sent_as_it_is(start: Start, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.txt").write_bytes(TEXT)
    file = tmp_path / "gateway.toml"
    file.write_text(f'compress = true\n[[route]]\npath = "/"\nroot = "{tmp_path}/site"\n')
    gateway = start("", "--config", str(file), "--spool-total", "1k")
    with Client(gateway.address) as client:
        client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.field("Content-Encoding")) == (200, None)
        assert answer.body == TEXT
