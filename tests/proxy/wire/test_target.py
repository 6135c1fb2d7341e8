"""What is left of a path behind a route's prefix, in whatever spelling it came."""

import pytest

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
        (b"/api", b"/api//evil.example", b"//evil.example"),
    ],
)
def test_behind(prefix: bytes, target: bytes, rest: bytes) -> None:
    assert behind(prefix, target) == rest
