"""Which responses are stored, and for how long (RFC 9111)."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.directives import directives, seconds
from proxy.cache.freshness import Freshness, freshness
from proxy.wire.response import parse_response_head

NOW = 1_800_000_000.0
TAG = 'ETag: "a"'


def judged(*lines: str, status: int = 200, default: float = 0.0, authorized: bool = False) -> Freshness | None:
    head = "\r\n".join([f"HTTP/1.1 {status} X", "Content-Length: 1", *lines]).encode()
    return freshness(parse_response_head(head), default, NOW, authorized=authorized)


def http_date(offset: float) -> str:
    return formatdate(NOW + offset, usegmt=True)


@pytest.mark.parametrize(
    ("lines", "lifetime"),
    [
        (["Cache-Control: max-age=60"], 60),
        (["Cache-Control: max-age=60, s-maxage=5"], 5),
        (['Cache-Control: MAX-AGE="60"'], 60),
        (["Cache-Control: max-age=60, max-age=5"], 60),
        (["Cache-Control: max-age=60", "Cache-Control: public"], 60),
        ([f"Expires: {http_date(60)}"], 60),
        ([f"Expires: {http_date(60)}", f"Date: {http_date(-1)}"], 61),
        (["Cache-Control: max-age=60", f"Expires: {http_date(-60)}"], 60),
        (["Cache-Control: max-age=99999999999999999999999", TAG], 0),
        (["Cache-Control: max-age=9999999999999"], 1 << 31),
        (["Cache-Control: no-cache", TAG], 0),
        (["Cache-Control: max-age=0", "Last-Modified: " + http_date(-60)], 0),
    ],
)
def test_lifetime(lines: list[str], lifetime: float) -> None:
    found = judged(*lines)
    assert found is not None
    assert found.lifetime == lifetime


@pytest.mark.parametrize(
    "lines",
    [
        [], ["Cache-Control: public"], ["Cache-Control: no-cache"], ["Cache-Control: max-age=0"],
        ["Cache-Control: max-age=60, no-store"], ["Cache-Control: max-age=60, private"],
        ["Cache-Control: max-age=60, private=\"x-a\""], ["Cache-Control: max-age=60", "Set-Cookie: a=b"],
        ["Cache-Control: max-age=60", "Vary: *"], ["Cache-Control: max-age=60", "Content-Range: bytes 0-1/2"],
        ["Cache-Control: max-age=-1"], ["Expires: never"], ["Cache-Control: max-age=60 s-maxage=1"],
        ["Cache-Control: max-age=60", "Content-Type: text/event-stream"], ["Cache-Control: max-age=60, a=\"b"],
        ["Cache-Control: max-age=60", "X-Accel-Buffering: no"], ["Cache-Control: max-age=60", "Age: 60"],
        ["Cache-Control: max-age=60", f"Date: {http_date(-61)}"],
    ],
)  # fmt: skip
def test_not_stored(lines: list[str]) -> None:
    assert judged(*lines) is None


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 403, 416, 429, 500, 502, 503, 504])
def test_status_that_is_not_stored(status: int) -> None:
    assert judged("Cache-Control: max-age=60", status=status, default=60) is None


@pytest.mark.parametrize(
    ("lines", "status", "stored"),
    [
        ([], 200, True), ([], 301, True), ([], 302, False), ([], 404, False), (["Cache-Control: public"], 200, False),
        (["Expires: 0"], 200, False), (["Pragma: no-cache"], 200, False), (["Set-Cookie: a=b"], 200, False),
    ],
)  # fmt: skip
def test_default_lifetime_is_for_those_that_say_nothing(lines: list[str], status: int, stored: bool) -> None:
    found = judged(*lines, status=status, default=5)
    assert found == (Freshness(5, 0, default=True) if stored else None)


@pytest.mark.parametrize(
    ("directive", "stored"),
    [("max-age=60", False), ("max-age=60, public", True), ("s-maxage=60", True), ("max-age=60, must-revalidate", True)],
)
def test_authorization(directive: str, stored: bool) -> None:
    assert (judged(f"Cache-Control: {directive}", authorized=True) is not None) == stored


def test_age_counts_what_other_caches_and_clocks_say() -> None:
    for lines, age in ((["Age: 7"], 7), ([f"Date: {http_date(-9)}"], 9), ([f"Date: {http_date(-9)}", "Age: 20"], 20)):
        found = judged("Cache-Control: max-age=60", *lines)
        assert found is not None
        assert found.age == age


def test_stale_lifetimes_and_what_forbids_them() -> None:
    more = "Cache-Control: max-age=60, stale-while-revalidate=5, stale-if-error=9"
    assert judged(more) == Freshness(60, 0, 5, 9)
    assert judged(more + ", must-revalidate") == Freshness(60, 0)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_in_time(value: bytes) -> None:
    found = directives([b"Cache-Control: " + value.replace(b"\r", b"").replace(b"\n", b"")])
    assert all(seconds(found, name) is not None for name in found)
