"""What a client says first."""

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.net.certificate_set import CertificateSet
from proxy.net.certificates import self_signed
from proxy.net.tls_contexts import TlsContexts
from proxy.wire.client_hello import ClientHello, ClientHelloIncomplete, parse_client_hello
from tests.proxy.net.tls_client import hello, hello_of, record, recut, vector

HELLO = hello_of("some.test", "h2", "http/1.1")


def test_name_and_protocols_are_read_from_a_hello() -> None:
    assert parse_client_hello(hello_of("Some.Test", "h2", "http/1.1")) == ClientHello("some.test", ("h2", "http/1.1"))
    assert parse_client_hello(hello_of("some.test", "acme-tls/1")) == ClientHello("some.test", ("acme-tls/1",))
    assert parse_client_hello(hello_of(None)) == ClientHello(None, ())


def test_names_of_other_kinds_are_none() -> None:
    named = vector(2, b"\0" + vector(2, b"Some.Test"))
    assert parse_client_hello(hello((0, named))) == ClientHello("some.test", ())
    assert parse_client_hello(hello((0, b"\0\x04\x01" + vector(2, b"x")), (99, b"?"))) == ClientHello(None, ())


def test_other_messages_are_no_hello() -> None:
    assert parse_client_hello(record(b"\x02" + vector(3, bytes(40)))) is None
    assert parse_client_hello(b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n") is None


def test_a_part_of_a_hello_is_incomplete() -> None:
    for size in range(len(HELLO)):
        with pytest.raises(ClientHelloIncomplete):
            parse_client_hello(HELLO[:size])


@given(st.lists(st.integers(0, len(HELLO)), max_size=7), st.integers(0, len(HELLO) + 40))
def test_a_hello_may_come_in_several_records(cuts: list[int], size: int) -> None:
    cut = recut(HELLO, cuts)
    assert parse_client_hello(cut) == parse_client_hello(HELLO)
    if size < len(cut):
        with pytest.raises(ClientHelloIncomplete):
            parse_client_hello(cut[:size])


@pytest.mark.parametrize(
    "data",
    [
        recut(HELLO, list(range(1, len(HELLO) - 5, 4))),  # more records than anybody needs
        b"\x16\x03\x01\x00\x00",  # an empty one
        b"\x16\x03\x01\x40\x01\x01",  # one that is too large
        b"\x16\x02",  # of another protocol
        b"\x16\x03\x01\x00\x04\x01\x01\x00\x00",  # a hello of 64 KiB
        recut(HELLO, [50])[:55] + b"\x15\x03\x01\x00\x02\x01\x00",  # something else between its parts
        record(b"\x01" + vector(3, bytes(34))),  # without what belongs to it
    ],
    ids=["records", "empty", "large", "protocol", "long", "interrupted", "short"],  # hellos differ from run to run
)
def test_what_cannot_be_read_is_not_waited_for(data: bytes) -> None:
    assert parse_client_hello(data) is None


@pytest.fixture(scope="module")
def server() -> ssl.SSLContext:
    tls_contexts = TlsContexts()
    tls_contexts.install(CertificateSet((self_signed(("some.test",)),)))
    return tls_contexts.context


@given(st.data())
def test_no_more_is_waited_for_once_openssl_can_answer(server: ssl.SSLContext, data: st.DataObject) -> None:
    said = bytearray(recut(HELLO, data.draw(st.lists(st.integers(1, len(HELLO) - 6), max_size=12))))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=3)):
        said[at] = value
    came = bytes(said[: data.draw(st.integers(1, len(said)))])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(came)
    answered = True
    try:
        server.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        answered = outgoing.pending > 0
    except ssl.SSLError:
        pass
    if answered and came[0] == 0x16:
        parse_client_hello(came)  # ClientHelloIncomplete would mean waiting


@given(st.binary(max_size=400), st.integers(0, 600), st.integers(0, 255))
def test_no_bytes_break_the_reader(noise: bytes, at: int, value: int) -> None:
    damaged = bytearray(HELLO)
    damaged[at % len(damaged)] = value
    for data in (noise, b"\x16\x03\x01" + noise, bytes(damaged)):
        with contextlib.suppress(ClientHelloIncomplete):
            parse_client_hello(data)
