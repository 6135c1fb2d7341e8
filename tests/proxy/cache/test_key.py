"""What two requests have in common that share a response."""

import pytest

from proxy.cache import key
from proxy.exchange.request import Request
from proxy.wire.request import RequestFields
from proxy.wire.via import NO_VIA


def digest(*lines: str, client: str = "192.0.2.1") -> bytes:
    block = "".join(line + "\r\n" for line in ("Host: app", *lines)).encode()
    request = Request(b"GET", b"/", 1, RequestFields(), block, 0.0, client=client)
    fields = key.shared(request, key.fields_of(block), frozenset(), NO_VIA)
    return key.digest(b"route", b"/", fields, frozenset(), clients=False)


@pytest.mark.parametrize("line", ["X-Forwarded-For: {}", "X-Real-IP: {}", "Forwarded: for=9.9.9.9, for={};host=a"])
def test_clients_share_whatever_their_addresses(line: str) -> None:
    assert digest(line.format("192.0.2.1")) == digest(line.format("192.0.2.2"), client="192.0.2.2")


@pytest.mark.parametrize("line", ["Host: {}", "X-Any: {}", "Forwarded: for=192.0.2.1;proto=http;host={}"])
def test_what_an_application_may_heed_is_in_the_key(line: str) -> None:
    assert digest(line.format("one")) != digest(line.format("two"))
