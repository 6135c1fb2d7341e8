"""What a route says of itself to the upstream, and how it knows what it has sent before."""

import pytest

from proxy.errors import ExchangeError
from proxy.wire.fields import upstream_block
from proxy.wire.via import NO_VIA, Via
from tests.proxy.wire.reading import read

ROUTE = Via(b"aragora-1")


def test_a_route_names_the_version_that_it_was_asked_by() -> None:
    assert ROUTE.lines == (b"Via: 1.0 aragora-1\r\n", b"Via: 1.1 aragora-1\r\n", b"Via: 2 aragora-1\r\n")


def test_it_stands_behind_those_before_it() -> None:
    fields = read(b"GET / HTTP/1.1\r\nHost: a\r\nvia: 1.1 x\r\nVia: 2 y (squid), 1.0 z\r\nX: 1").fields
    assert fields.via == b"1.1 x, 2 y (squid), 1.0 z"
    block = upstream_block(fields, b"a", b"", ROUTE.lines[1])
    assert block == b"Host: a\r\nX: 1\r\nvia: 1.1 x\r\nVia: 2 y (squid), 1.0 z\r\nVia: 1.1 aragora-1\r\n"


@pytest.mark.parametrize("said", [b"1.1 aragora-1", b"2 x, 1.1 aragora-1, 1.1 y", b"HTTP/1.1 aragora-1 (a comment)"])
def test_what_it_sent_before_is_refused(said: bytes) -> None:
    with pytest.raises(ExchangeError) as refusal:
        ROUTE.check(said)
    assert (refusal.value.failure.status, refusal.value.failure.reason) == (508, "loop")


@pytest.mark.parametrize("said", [None, b"", b"1.1 aragora-2, 1.1 vegur"])
def test_what_others_sent_is_not(said: bytes | None) -> None:
    ROUTE.check(said)


@pytest.mark.parametrize("said", [None, b"", b"1.1 aragora-1"])
def test_a_route_without_a_name_says_and_refuses_nothing(said: bytes | None) -> None:
    NO_VIA.check(said)
    assert set(NO_VIA.lines) == {b""}
