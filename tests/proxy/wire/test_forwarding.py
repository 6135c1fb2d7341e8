"""Whom a request is made for: whose word counts, and what the upstream is told."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import forwarding
from proxy.wire.forwarding import (
    Arrival,
    Origin,
    TrustedPeers,
    client_address,
    origin_of,
    parse_node,
    within,
)
from proxy.wire.request import parse_request_fields
from proxy.wire.request_line import HeadLimits

NETWORKS = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "127.0.0.1/32", "2001:db8:f::/48")]
TRUSTED = TrustedPeers(NETWORKS)
NOBODY = TrustedPeers()
HOST = b"api.example.com"


def origin(
    peer: str, *lines: bytes, trusted: TrustedPeers = TRUSTED, forwarded: bool = True, host: bytes | None = HOST
) -> Origin:
    fields = parse_request_fields(b"\r\n".join([b"Host: x", *lines]), HeadLimits())
    assert fields.lines == []
    return origin_of(Arrival(peer, b"http", b"8000"), host, fields.forwarding_fields, trusted, forwarded=forwarded)


def values(found: Origin, name: bytes) -> list[bytes]:
    return [value for line in found.lines.split(b"\r\n") for key, _, value in [line.partition(b": ")] if key == name]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b" 192.0.2.1:8080\t", "192.0.2.1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:DB8::1]:443", "2001:db8::1"),
        (b"fe80::1%eth0", "fe80::1"),
        (b"[fe80::1%25eth0]:80", "fe80::1"),
        (b"::ffff:192.0.2.1", "192.0.2.1"),
        (b"", None),
        (b"unknown", None),
        (b"_hidden", None),
        (b"192.0.2.1:", None),
        (b"192.0.2.1:http", None),
        (b"192.0.2.1%eth0", None),
        (b"192.0.2.01", None),
        (b"[2001:db8::1", None),
        (b"[2001:db8::1]443", None),
        (b"[2001:db8::1]:x", None),
        (b"\xff", None),
    ],
)
def test_entries_are_read_in_every_usual_form(value: bytes, address: str | None) -> None:
    found = parse_node(value)
    assert (str(found) if found is not None else None) == address


def test_networks_hold_addresses_only() -> None:
    assert within("10.1.2.3", NETWORKS)
    assert within("::ffff:10.1.2.3", NETWORKS)
    assert not within("11.1.2.3", NETWORKS)
    assert not within("", NETWORKS)


def test_unix_sockets_are_trusted_only_if_named() -> None:
    assert not TRUSTED.trusts("")
    assert TrustedPeers(unix=True).trusts("")
    assert not NOBODY
    assert TRUSTED
    assert TrustedPeers(unix=True)


def test_remembered_peers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_MOST_PEERS", 2)
    peers = TrustedPeers(NETWORKS, unix=True)
    for last in range(5):
        assert peers.trusts(f"10.0.0.{last}")
        assert peers.trusts(f"10.0.0.{last}")
        assert len(peers._known) <= 2
    assert peers.trusts("")


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("198.51.100.1", [b"192.0.2.1"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", [b"6.6.6.6", b"192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", [b"6.6.6.6", b"192.0.2.1", b"10.9.9.9"], "192.0.2.1"),
        ("10.0.0.1", [b"10.1.1.1", b"10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", [b"192.0.2.1", b"unknown", b"10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", [b"[2001:db8::9]:5000", b"2001:db8:f::1"], "2001:db8::9"),
    ],
)
def test_the_client_is_found_from_the_right(peer: str, chain: list[bytes], client: str) -> None:
    assert client_address(peer, chain, TRUSTED) == client


@given(st.lists(st.sampled_from([b"10.0.0.1", b"127.0.0.1", b"192.0.2.1", b"junk", b"6.6.6.6"]), max_size=8))
def test_what_a_client_writes_to_the_left_changes_nothing(chain: list[bytes]) -> None:
    assert client_address("10.0.0.1", [*chain, b"192.0.2.77", b"10.0.0.2"], TRUSTED) == "192.0.2.77"


def test_a_stranger_is_not_listened_to() -> None:
    found = origin(
        "192.0.2.1",
        b"X-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-Proto: https",
        b"Forwarded: for=6.6.6.6",
        b"X-Forwarded-Host: evil",
        b"X-Forwarded-Port: 1",
        b"X-Request-ID: mine",
    )
    assert (found.client, found.scheme, found.request_id) == ("192.0.2.1", b"http", None)
    assert found.lines == (
        b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 8000\r\nX-Real-IP: 192.0.2.1\r\n"
        b"X-Forwarded-Host: api.example.com\r\nForwarded: for=192.0.2.1;proto=http;host=api.example.com\r\n"
    )


def test_a_trusted_proxy_says_for_whom_it_asks() -> None:
    found = origin(
        "10.0.0.1",
        b"X-Forwarded-For: 6.6.6.6, 192.0.2.1",
        b"x-forwarded-for: 10.0.0.7",
        b"X-Forwarded-Proto: http, HTTPS",
        b"X-Forwarded-Host: a.example, www.example.com",
        b"X-Request-ID: from-the-edge:1",
    )
    assert (found.client, found.scheme, found.request_id) == ("192.0.2.1", b"https", b"from-the-edge:1")
    assert values(found, b"X-Forwarded-For") == [b"6.6.6.6, 192.0.2.1, 10.0.0.7, 192.0.2.1"]
    assert values(found, b"X-Real-IP") == [b"192.0.2.1"]
    assert values(found, b"X-Forwarded-Proto") == [b"https"]
    assert values(found, b"X-Forwarded-Port") == [b"443"]
    assert values(found, b"X-Forwarded-Host") == [b"www.example.com"]
    assert values(found, b"Forwarded") == [
        b"for=6.6.6.6, for=192.0.2.1, for=10.0.0.7, for=10.0.0.1;proto=http;host=api.example.com"
    ]


def test_a_trusted_proxy_that_says_nothing_is_the_client() -> None:
    assert origin("10.0.0.1", b"X-Request-ID: a").client == "10.0.0.1"
    assert origin("10.0.0.1").lines == origin("10.0.0.1", trusted=NOBODY).lines


def test_nonsense_of_a_trusted_proxy_is_replaced() -> None:
    found = origin(
        "10.0.0.1",
        b"X-Forwarded-Proto: gopher",
        b"X-Forwarded-Host: a b",
        b"X-Forwarded-Port: 0x50",
        b"X-Request-ID: a b",
        b'Forwarded: for="192.0.2.1',
        b"X-Forwarded-For: ,",
    )
    assert (found.client, found.scheme, found.request_id) == ("10.0.0.1", b"http", None)
    assert values(found, b"X-Forwarded-For") == [b"10.0.0.1"]
    assert values(found, b"X-Forwarded-Host") == [HOST]
    assert values(found, b"X-Forwarded-Port") == [b"8000"]
    assert values(found, b"Forwarded") == [b"for=10.0.0.1;proto=http;host=api.example.com"]


def test_two_request_ids_are_none() -> None:
    assert origin("10.0.0.1", b"X-Request-ID: a", b"X-Request-ID: b").request_id is None


def test_a_given_port_is_kept() -> None:
    assert values(origin("10.0.0.1", b"X-Forwarded-Port: 8443"), b"X-Forwarded-Port") == [b"8443"]


def test_forwarded_is_appended_to() -> None:
    came = b'for="[2001:db8::1]:4711";proto=https, for=unknown'
    found = origin("2001:db8:f::1", b"Forwarded: " + came, b"Forwarded: for=_x", host=b"[::1]:8000")
    own = b'for="[2001:db8:f::1]";proto=http;host="[::1]:8000"'
    assert values(found, b"Forwarded") == [b", ".join([came, b"for=_x", own])]


@pytest.mark.parametrize(
    "hostile",
    [
        b", " * 900 + b'"',
        b"; " * 900,
        b"a=" * 900,
        b'a="' + b"\\a" * 900,
        b"a=b" + b" " * 1800 + b"=",
        b";" * 1800 + b"=",
    ],
)
@pytest.mark.timeout(10)
def test_hostile_fields_are_refused_at_once(hostile: bytes) -> None:
    found = origin("10.0.0.1", b"Forwarded: " + hostile, b"X-Forwarded-Host: " + hostile)
    assert values(found, b"Forwarded") == [b"for=10.0.0.1;proto=http;host=api.example.com"]
    found = origin("10.0.0.1", b"Forwarded: " + hostile, b"X-Forwarded-For: " + hostile)
    assert values(found, b"Forwarded")[0].endswith(b"for=10.0.0.1;proto=http;host=api.example.com")
    assert set(re.findall(rb"for=([^;,]*)", values(found, b"Forwarded")[0])) <= {b"unknown", b"10.0.0.1"}


def test_forwarded_is_made_of_the_other_field() -> None:
    found = origin("10.0.0.1", b"X-Forwarded-For: hidden, 2001:db8::1")
    assert values(found, b"Forwarded") == [
        b'for=unknown, for="[2001:db8::1]", for=10.0.0.1;proto=http;host=api.example.com'
    ]


def test_a_peer_without_address() -> None:
    assert origin("", host=None).lines == (
        b"X-Forwarded-For: unknown\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 8000\r\n"
        b"Forwarded: for=unknown;proto=http\r\n"
    )
    assert values(origin("", trusted=TrustedPeers(unix=True)), b"X-Forwarded-For") == [b"unknown"]
    found = origin("", b"X-Forwarded-For: 192.0.2.1", trusted=TrustedPeers(unix=True))
    assert found.client == "192.0.2.1"
    assert values(found, b"X-Forwarded-For") == [b"192.0.2.1, 192.0.2.1"]
    assert origin("", b"X-Forwarded-For: 192.0.2.1").client == ""


def test_zones_stay_at_home() -> None:
    found = origin("fe80::1%eth0")
    assert values(found, b"X-Forwarded-For") == values(found, b"X-Real-IP") == [b"fe80::1"]
    assert values(found, b"Forwarded")[0].startswith(b'for="[fe80::1]"')


def test_spoofed_forwarded_dropped_beside_x_forwarded_for() -> None:
    found = origin("10.0.0.1", b"X-Forwarded-For: 192.0.2.1", b"Forwarded: for=6.6.6.6;proto=https")
    assert values(found, b"Forwarded") == [b"for=192.0.2.1, for=10.0.0.1;proto=http;host=api.example.com"]


def test_forwarded_can_be_left_out() -> None:
    assert not values(origin("192.0.2.1", forwarded=False), b"Forwarded")
    assert not values(origin("10.0.0.1", b"X-Forwarded-For: 192.0.2.1", forwarded=False), b"Forwarded")


def test_long_chains_are_cut_on_the_left() -> None:
    found = origin("10.0.0.1", b"X-Forwarded-For: " + b", ".join(b"10.0.1.%d" % last for last in range(200)))
    chain = values(found, b"X-Forwarded-For")[0].split(b", ")
    assert len(chain) == 32
    assert chain[-2:] == [b"10.0.1.199", b"10.0.1.168"]  # the last one searched is the client
    found = origin("10.0.0.1", b"X-Forwarded-For: " + b"x" * 4000, b"Forwarded: for=" + b"x" * 4000)
    assert values(found, b"X-Forwarded-For") == [b"10.0.0.1"]
    assert len(found.lines) < 400


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"X-Forwarded-For",
                    b"Forwarded",
                    b"X-Forwarded-Proto",
                    b"X-Forwarded-Host",
                    b"X-Forwarded-Port",
                    b"X-Request-ID",
                ]
            ),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
        ),
        max_size=6,
    )
)
def test_whatever_is_claimed_the_fields_are_well_formed(claimed: list[tuple[bytes, str]]) -> None:
    found = origin("10.0.0.1", *(name + b": " + value.encode() for name, value in claimed))
    assert found.lines.endswith(b"\r\n")
    assert found.lines.count(b"\n") == found.lines.count(b"\r\n")
    ipaddress.ip_address(found.client)
    names = [line.partition(b":")[0] for line in found.lines.split(b"\r\n")[:-1]]
    assert len(names) == len(set(names)), "each field once"


@pytest.mark.parametrize(
    ("lines", "scheme", "port"),
    [
        ((b"X-Forwarded-Proto: wss",), b"https", b"443"),
        ((b"X-Forwarded-Proto: WSS",), b"https", b"443"),
        ((b"X-Forwarded-Proto: ws",), b"http", b"8000"),
        ((b"X-Forwarded-Proto: http, wss", b"X-Forwarded-Port: 8443"), b"https", b"8443"),
        ((b"X-Forwarded-Proto: wss, ws",), b"http", b"8000"),
        ((b"X-Forwarded-Proto: gopher",), b"http", b"8000"),
        ((b"Forwarded: for=192.0.2.1;proto=https",), b"https", b"443"),
        ((b'Forwarded: for=192.0.2.1;proto="WSS"',), b"https", b"443"),
        ((b"Forwarded: proto=https, for=192.0.2.1;Proto=http",), b"http", b"8000"),
        ((b"Forwarded: proto=https, for=192.0.2.1",), b"http", b"8000"),
        ((b"Forwarded: proto=http", b'Forwarded: for="a,b";proto=https'), b"https", b"443"),
        ((b"Forwarded: proto=http", b"X-Forwarded-Proto: https"), b"https", b"443"),
        ((b"Forwarded: proto=https", b"X-Forwarded-Proto: http"), b"http", b"8000"),
        ((b"Forwarded: proto=https", b"X-Forwarded-For: 192.0.2.1"), b"http", b"8000"),
        ((b"Forwarded: proto=https;;=",), b"http", b"8000"),
        ((b"Forwarded: " + b"proto=https;" * 400,), b"http", b"8000"),
    ],
)
def test_a_trusted_proxy_says_the_scheme_in_its_own_words(lines: tuple[bytes, ...], scheme: bytes, port: bytes) -> None:
    found = origin("10.0.0.1", *lines)
    assert (found.scheme, values(found, b"X-Forwarded-Proto"), values(found, b"X-Forwarded-Port")) == (
        scheme,
        [scheme],
        [port],
    )
    assert origin("192.0.2.9", *lines).scheme == b"http"
