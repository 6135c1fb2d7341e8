"""What is left of a path behind a route's prefix, in whatever spelling it came."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.target import behind


@pytest.mark.parametrize(
    ("prefix", "target", "rest"),
    [
        (b"/api", b"/api/x?y=/api", b"/x?y=/api"),
        (b"/api/", b"/api/x", b"/x"),
        (b"/api", b"/api", b"/"),
        (b"/api", b"/api?q", b"/?q"),
        (b"/", b"/x", b"/x"),
        (b"/api", b"/%61pi/a%20b", b"/a%20b"),
        (b"/api", b"//api/x", b"/x"),
        (b"/a/b", b"/a//b/%C3%A4", b"/%C3%A4"),
        (b"/a/b", b"/a%2Fb/x", b"/x"),
        (b"/api", b"/api/a%2Fb", b"/a%2Fb"),
        (b"/api", b"/%61pi/a%2Fb", b"/a%2Fb"),
        (b"/api", b"/%61pi%2Fa%20b", b"/a%20b"),
        (b"/api", b"/%61pi", b"/"),
        (b"/api", b"/" * 3000 + b"api/x", b"/x"),
        (b"/api", b"/api//evil.example/x?/y//", b"/evil.example/x?/y//"),
        (b"/api", b"/api///evil.example", b"/evil.example"),
        (b"/api", b"/api/\\evil.example", b"/evil.example"),
        (b"/api", b"/api\\evil.example", b"/evil.example"),
        (b"/api", b"/api/%2fevil.example", b"/evil.example"),
        (b"/api", b"/api/%5C%2F/evil.example", b"/evil.example"),
        (b"/api", b"/api%2F%2Fevil.example", b"/evil.example"),
        (b"/api", b"/%61pi//evil.example", b"/evil.example"),
        (b"/api", b"/%61pi%2F\\evil.example", b"/evil.example"),
        (b"/api", b"/api//", b"/"),
        (b"/api", b"/api/a//b%2F%2Fc", b"/a//b%2F%2Fc"),
    ],
)
def test_behind(prefix: bytes, target: bytes, rest: bytes) -> None:
    assert behind(prefix, target) == rest


@given(
    st.lists(st.sampled_from([b"/", b"\\", b"%2f", b"%5C", b"%61", b"a", b"p", b"i", b"evil", b"?", b"//"]), max_size=8)
)
def test_no_spelling_leaves_an_address_elsewhere(parts: list[bytes]) -> None:
    for prefix in (b"/api", b"/%61pi", b"//api", b"/api%2F"):
        rest = behind(b"/api", prefix + b"/" + b"".join(parts))
        assert rest.startswith(b"/")
        assert not unquote_to_bytes(rest.partition(b"?")[0])[1:].startswith((b"/", b"\\"))
