"""The PROXY protocol: what is read, what is refused, and that what we write is read as it was meant."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.proxy_protocol import (
    MAX_V2,
    SIGNATURE,
    Endpoints,
    ProxyHeaderError,
    crc32c,
    endpoints_of,
    header,
    make_v1,
    make_v2,
    parse_header,
)

FOUR = Endpoints("192.0.2.1", 56324, "198.51.100.2", 443)
FOUR_BEHIND = Endpoints("192.0.2.1", 0, "198.51.100.2", 443)
SIX = Endpoints("2001:db8::1", 1, "2001:db8::2", 65535)
PORTS = st.integers(0, 65535)
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None).map(str)


def version_2(command: int = 0x21, family: int = 0x11, rest: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + (len(rest) if length is None else length).to_bytes(2, "big") + rest


ADDRESSES = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + (56324).to_bytes(2, "big") + (443).to_bytes(2, "big")


def extension(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


@pytest.mark.parametrize(
    ("header", "endpoints"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", FOUR),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", SIX),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 56324 443\r\n", FOUR),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (version_2(rest=ADDRESSES), FOUR),
        (version_2(0x20, 0x00), None),
        (version_2(0x20, 0xFF, b"whatever"), None),
        (version_2(0x21, 0x00), None),
        (version_2(0x21, 0x31, b"/run/app.sock".ljust(108, b"\0") * 2), None),
        (version_2(rest=ADDRESSES + extension(0x01, b"h2") + extension(0x04, b"")), FOUR),
    ],
)
def test_headers_are_read(header: bytes, endpoints: Endpoints | None) -> None:
    assert parse_header(header + b"GET / HTTP/1.1\r\n\r\n") == (endpoints, len(header))
    for cut in range(len(header)):
        assert parse_header(header[:cut]) is None, "incomplete, and not yet wrong"


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
        b"PROXY TCP4 192.0.2.\xff 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n",
        b"PROXY TCP4 192.0.2.1\r198.51.100.2",
        b"PROXY UNKNOWN " + b"x" * 100,
        version_2(0x11),
        version_2(0x22),
        version_2(0x21, 0x12, ADDRESSES),
        version_2(0x21, 0x41, ADDRESSES),
        version_2(0x21, 0x11, ADDRESSES[:-1]),
        version_2(0x21, 0x21, ADDRESSES),
        version_2(0x21, 0x11, b"", length=MAX_V2),
        version_2(rest=ADDRESSES + b"\x01"),
        version_2(rest=ADDRESSES + b"\x01\x00\x05abcd"),
        version_2(rest=ADDRESSES + extension(0x03, b"\0\0\0\0")),
        version_2(rest=ADDRESSES + extension(0x03, b"\0")),
        SIGNATURE[:-1] + b"X" + b"\0" * 20,
    ],
)
def test_anything_else_is_refused(header: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse_header(header)


def test_a_right_checksum_is_accepted() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    header = version_2(rest=ADDRESSES + extension(0x03, bytes(4)) + extension(0x01, b"h2"))
    at = 16 + 12 + 3
    right = header[:at] + crc32c(header).to_bytes(4, "big") + header[at + 4 :]
    assert parse_header(right) == (FOUR, len(right))
    with pytest.raises(ProxyHeaderError):
        parse_header(right[:-1] + b"3")


@given(st.one_of(st.tuples(V4, V4), st.tuples(V6, V6), st.tuples(V4, V6), st.tuples(V6, V4)), PORTS, PORTS)
def test_what_is_written_is_read_back(addresses: tuple[str, str], source_port: int, destination_port: int) -> None:
    endpoints = Endpoints(addresses[0], source_port, addresses[1], destination_port)
    for made in (make_v1(endpoints), make_v2(endpoints)):
        assert parse_header(made + b"rest") == (endpoints, len(made))


def test_an_unknown_client_is_written_as_such() -> None:
    assert parse_header(make_v1(None)) == (None, len(make_v1(None)))
    assert parse_header(make_v2(None)) == (None, len(make_v2(None)))


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda tail: SIGNATURE + b"\x21" + tail),
        st.binary(max_size=110).map(lambda tail: b"PROXY TCP" + tail),
    )
)
def test_any_bytes_are_read_waited_for_or_refused(data: bytes) -> None:
    try:
        found = parse_header(data)
    except ProxyHeaderError:
        return
    if found is not None:
        endpoints, length = found
        assert length <= len(data)
        if endpoints is not None:
            ipaddress.ip_address(endpoints.source)
            ipaddress.ip_address(endpoints.destination)
    else:
        assert len(data) < MAX_V2


@pytest.mark.parametrize(
    ("client", "peer", "own", "endpoints"),
    [
        ("192.0.2.1", ("192.0.2.1", 56324), ("198.51.100.2", 443), FOUR),
        ("192.0.2.1", ("10.0.0.1", 7), ("::ffff:198.51.100.2", 443, 0, 0), FOUR_BEHIND),
        ("fe80::1%eth0", ("fe80::1%eth0", 5), ("fe80::2%eth0", 80), Endpoints("fe80::1", 5, "fe80::2", 80)),
        ("192.0.2.1", "", "/run/proxy.sock", Endpoints("192.0.2.1", 0, "0.0.0.0", 0)),
        ("2001:db8::1", "", "/run/proxy.sock", Endpoints("2001:db8::1", 0, "::", 0)),
        ("", "", "/run/proxy.sock", None),
    ],
)
def test_what_is_said_of_a_client(client: str, peer: object, own: object, endpoints: Endpoints | None) -> None:
    assert endpoints_of(client, peer, own) == endpoints
    assert header("off", endpoints) == b""
    assert header("v1", endpoints) == make_v1(endpoints)
    assert header("v2", endpoints) == make_v2(endpoints)
