"""Authorities, name servers and programs that never come to an end: each has a deadline as a whole."""

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.acme import dns, network, state
from proxy.acme.account import Authority, NotObtained, asking, register
from proxy.acme.permission import Answer, Permission
from proxy.acme.state import State
from tests.proxy.authority import Authority as Issuer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIP = 0.02  # seconds between two bytes
DEADLINE = 0.5
SLACK = 5.0

Act = Callable[["Drips", Any], None]


class Drips:
    """A server on this machine that does `act` with each connection, until it is released."""

    def __init__(self, act: Act) -> None:
        self.released = threading.Event()
        self.taken = 0
        self._act = act
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/directory"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.taken += 1
                self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
                self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            self._act(self, sock)

    def drip(self, sock: socket.socket, first: bytes, again: bytes) -> None:
        sock.recv(65536)
        sock.sendall(first)
        while not self.released.wait(DRIP):
            sock.sendall(again)

    def close(self) -> None:
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._acceptor, *self._threads):
            thread.join()


@contextlib.contextmanager
def server(act: Act) -> Iterator[Drips]:
    with contextlib.closing(Drips(act)) as running:
        yield running


@contextlib.contextmanager
def ends() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SLACK


def status_line(drips: Drips, sock: Any) -> None:
    drips.drip(sock, b"HTTP/1.1 200 ", b"O")


def field(drips: Drips, sock: Any) -> None:
    drips.drip(sock, HEAD + b"X: ", b"y")


def early_hints(drips: Drips, sock: Any) -> None:
    drips.drip(sock, b"", b"HTTP/1.1 100 Continue\r\n\r\n")


def body(drips: Drips, sock: Any) -> None:
    drips.drip(sock, HEAD + b"Content-Length: 60000\r\n\r\n", b" ")


def chunks(drips: Drips, sock: Any) -> None:
    drips.drip(sock, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


def until_the_end(drips: Drips, sock: Any) -> None:
    drips.drip(sock, HEAD + b"\r\n", b" ")


def handshake(drips: Drips, sock: Any) -> None:
    drips.drip(sock, b"\x16\x03\x03\x40\x00", b"\x00")  # a record of 16 KiB


def redirects(drips: Drips, sock: Any) -> None:
    sock.recv(65536)
    drips.released.wait(0.2)
    there = f"Location: {drips.url}/{drips.taken}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    sock.sendall(b"HTTP/1.1 302 Found\r\n" + there.encode())


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_TIMEOUT", DEADLINE)


def ask(url: str, ca: Path | None = None, times: int = 1) -> None:
    with asking(Authority(url, ca, "a@site.test", "test")) as asked:
        for _ in range(times):
            asked.get(url)


@pytest.mark.usefixtures("soon")
class TestAuthorities:
    @pytest.mark.parametrize("act", [status_line, field, early_hints, body, chunks, until_the_end, redirects])
    def test_one_that_drips_its_response_ends_at_the_deadline(self, act: Act) -> None:
        with server(act) as drips, ends(), pytest.raises(NotObtained, match="timed out"):
            ask(drips.url)

    def test_one_that_drips_its_handshake(self) -> None:
        with server(handshake) as drips, ends(), pytest.raises(NotObtained, match="timed out"):
            ask(drips.url.replace("http:", "https:"))

    def test_one_that_drips_under_tls(self, authority: Issuer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("127.0.0.1"))

        def secure(drips: Drips, sock: Any) -> None:
            with context.wrap_socket(sock, server_side=True) as tls:
                body(drips, tls)

        with server(secure) as drips, ends(), pytest.raises(NotObtained, match="timed out"):
            ask(drips.url.replace("http:", "https:"), authority.file)

    def test_a_proxy_that_drips_its_answer_to_connect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("no_proxy", raising=False)
        with server(field) as drips, ends():
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{drips.port}")
            with pytest.raises(NotObtained, match="timed out"):
                ask("https://ca.test/directory")

    def test_a_name_with_many_silent_addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each of them is a listener whose queue is full."""
        with contextlib.ExitStack() as opened:
            listener = opened.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            full = listener.getsockname()
            for _ in range(3):
                client = opened.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(full)
            resolve = socket.getaddrinfo

            def many(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
                return resolve("127.0.0.1", port, *arguments, **named) * (100 if host == "ca.test" else 1)

            monkeypatch.setattr(socket, "getaddrinfo", many)
            with ends(), pytest.raises(NotObtained, match="timed out"):
                ask(f"http://ca.test:{full[1]}/directory")

    def test_all_requests_together_have_a_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def slow(drips: Drips, sock: Any) -> None:
            while sock.recv(65536):
                drips.released.wait(0.2)
                sock.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

        monkeypatch.setattr(network, "_TOGETHER", 1.0)
        with server(slow) as drips, ends(), pytest.raises(NotObtained, match=r"timed out|more than 1 s together"):
            ask(drips.url, times=100)

    def test_a_response_that_is_cut_off_is_a_failure_of_the_order(self) -> None:
        def cut(_drips: Drips, sock: Any) -> None:
            sock.recv(65536)
            sock.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")

        with server(cut) as drips, pytest.raises(NotObtained, match="Incomplete"):
            ask(drips.url)

    def test_a_broken_compression_is_a_failure_of_the_order(self) -> None:
        def broken(_drips: Drips, sock: Any) -> None:
            sock.recv(65536)
            sock.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone")

        with server(broken) as drips, pytest.raises(NotObtained, match="gzip"):
            ask(drips.url)


@pytest.mark.usefixtures("soon")
def test_an_account_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_LONGEST_ACCOUNT", DEADLINE)
    kept = State(tmp_path, "http://127.0.0.1:9/directory")
    kept.make()
    with kept.account_lock(), ends(), pytest.raises(NotObtained, match="making the account"):
        register(Authority("http://127.0.0.1:9/directory", None, "a@site.test", "test"), kept)


@pytest.mark.parametrize("act", [status_line, field, early_hints])
def test_the_service_that_is_asked_for_permission(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.acme.permission._DEADLINE", DEADLINE)
    with server(act) as drips, ends():
        assert Permission(drips.url, "test").look("a.site.test") == (Answer.UNKNOWN, "no answer within 0 s")


def test_a_name_server_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dns.message", reason="dnspython is not installed; pip install 'aragora-gateway[dns]'")
    monkeypatch.setattr(dns, "_UPDATE", DEADLINE)

    def drip(drips: Drips, sock: Any) -> None:
        drips.drip(sock, b"\xff\xff", b"\x00")

    with server(drip) as drips, ends(), pytest.raises(NotObtained, match="Timeout"):
        dns.Updates("127.0.0.1", drips.port, None).add("_acme-challenge.site.test", "value")


def test_a_name_server_that_is_slow_for_each_label(monkeypatch: pytest.MonkeyPatch) -> None:
    message = pytest.importorskip("dns.message", reason="dnspython is not installed")

    def slow(drips: Drips, sock: Any) -> None:
        asked = message.from_wire(sock.recv(65536)[2:])
        drips.released.wait(0.2)
        answer = message.make_response(asked).to_wire()
        sock.sendall(len(answer).to_bytes(2, "big") + answer)

    monkeypatch.setattr(dns, "_UPDATE", DEADLINE)
    name = ".".join(["_acme-challenge", *"abcdefghijklmnopqrstuvwxyz" * 2])
    with server(slow) as drips, ends(), pytest.raises(NotObtained, match=r"[Tt]imeout"):
        dns.Updates("127.0.0.1", drips.port, None).add(name, "value")


def test_a_program_is_killed_with_what_it_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "_PATIENCE", DEADLINE)
    program, fifo = tmp_path / "hook", tmp_path / "fifo"
    program.write_text(f"#!/bin/sh\nexec 9> {fifo}\nsleep 600\ntrue\n")
    program.chmod(0o755)
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with ends(), pytest.raises(NotObtained, match=r"hook present: .*timed out after 0\.5 seconds"):
            dns.Program(program).add("_acme-challenge.site.test", "value")
        # A pipe ends when the last process that holds it does.
        assert select.select([reader], [], [], SLACK)[0], "sleep is gone"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
