"""What a client says first."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.hello import Hello, parse_hello
from tests.proxy.tls.wire import hello, hello_of, record, vector

HELLO = hello_of("some.test", "h2", "http/1.1")


def test_name_and_protocols_are_read_from_a_hello() -> None:
    assert parse_hello(hello_of("Some.Test", "h2", "http/1.1")) == Hello("some.test", ("h2", "http/1.1"))
    assert parse_hello(hello_of("some.test", "acme-tls/1")) == Hello("some.test", ("acme-tls/1",))
    assert parse_hello(hello_of(None)) == Hello(None, ())


def test_names_of_other_kinds_are_none() -> None:
    named = vector(2, b"\0" + vector(2, b"Some.Test"))
    assert parse_hello(hello((0, named))) == Hello("some.test", ())
    assert parse_hello(hello((0, b"\0\x04\x01" + vector(2, b"x")), (99, b"?"))) == Hello(None, ())


def test_other_messages_are_no_hello() -> None:
    assert parse_hello(record(b"\x02" + vector(3, bytes(40)))) is None
    assert parse_hello(b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n") is None


def test_a_part_of_a_hello_is_incomplete() -> None:
    assert all(parse_hello(HELLO[:size]) is None for size in range(len(HELLO)))


@given(st.binary(max_size=400), st.integers(0, 600), st.integers(0, 255))
def test_no_bytes_break_the_reader(noise: bytes, at: int, value: int) -> None:
    parse_hello(noise)
    damaged = bytearray(HELLO)
    damaged[at % len(damaged)] = value
    parse_hello(bytes(damaged))
