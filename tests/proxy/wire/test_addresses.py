"""IPv4-mapped addresses are the IPv4 addresses that they spell."""

import ipaddress

import pytest

from proxy.wire.addresses import unmapped, unmapped_peer


@pytest.mark.parametrize(
    ("text", "expected"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("::1", "::1")],
)
def test_mapped_addresses_become_ipv4(text: str, expected: str) -> None:
    assert str(unmapped(ipaddress.ip_address(text))) == expected
    assert unmapped_peer(text) == expected


def test_a_unix_peer_has_no_address() -> None:
    assert unmapped_peer("") == ""
