"""A short run of the fuzz, and that it would notice."""

import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.proxy.integration.fuzz.h1_messages import Writer
from tests.proxy.integration.fuzz.ledger import Ledger, Message, Verdict, smuggled
from tests.proxy.integration.fuzz.reader import Reader
from tests.proxy.integration.fuzz.run import Fuzz, Site

MESSAGES = 2500


@pytest.fixture
def reader() -> Iterator[tuple[Reader, Ledger]]:
    ledger = Ledger()
    made = Reader(ledger)
    yield made, ledger
    made.close()


def test_nobody_is_out_of_step(tmp_path: Path) -> None:
    site = Site(tmp_path)
    fuzz = Fuzz(site, 1, ["h1", "h2"])
    try:
        fuzz.run(MESSAGES, seconds=60, threads=4)
    finally:
        site.close()
    assert not site.ledger.faults, "\n".join(site.ledger.faults)
    assert fuzz.messages >= MESSAGES
    assert fuzz.canaries > 20


def test_a_round_can_be_had_again() -> None:
    once, again = (Writer(Random("7:3"), streamed=True).pipeline("r", 6) for _ in range(2))
    assert [(wire.data, wire.message) for wire in once] == [(wire.data, wire.message) for wire in again]


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (b"POST /plain/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Request-ID: %b\r\n\r\nno", "it should be"),
        (b"GET /plain/never HTTP/1.1\r\nHost: x\r\nX-Request-ID: %b\r\n\r\n", "should have been refused"),
        (smuggled("a"), "has not sent this"),
        (b"GET /plain/a HTTP/1.1\r\nHost: x\r\nHost: y\r\nX-Request-ID: %b\r\n\r\n", "cannot read"),
        (b"aaaa\r\n\r\n", "cannot read"),
    ],
)
def test_what_is_out_of_step_is_a_fault(reader: tuple[Reader, Ledger], sent: bytes, fault: str) -> None:
    application, ledger = reader
    ledger.expect(Message("a", "GET", "/plain/a", b"", Verdict.READ))
    ledger.expect(Message("never", "GET", "/plain/never", b"", Verdict.NEVER))
    host, _, port = application.address.partition(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(sent.replace(b"%b", b"0123456789abcdef-00000001"))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    assert any(fault in one for one in ledger.faults), ledger.faults
