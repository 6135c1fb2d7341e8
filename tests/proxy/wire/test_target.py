"""What is left of a path behind a route's prefix, in whatever spelling it came."""

import posixpath
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.target import has_dot_segment, is_confined, without_prefix


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
    assert without_prefix(prefix, target) == rest


@given(
    st.lists(st.sampled_from([b"/", b"\\", b"%2f", b"%5C", b"%61", b"a", b"p", b"i", b"evil", b"?", b"//"]), max_size=8)
)
def test_no_spelling_leaves_an_address_elsewhere(parts: list[bytes]) -> None:
    for prefix in (b"/api", b"/%61pi", b"//api", b"/api%2F"):
        rest = without_prefix(b"/api", prefix + b"/" + b"".join(parts))
        assert rest.startswith(b"/")
        assert not unquote_to_bytes(rest.partition(b"?")[0])[1:].startswith((b"/", b"\\"))


def test_what_has_none_is_said_to() -> None:
    assert not has_dot_segment(b"/.a/b../c...d?/../x")


@pytest.mark.parametrize(
    ("path", "confined"),
    [
        (b"a/../b", True), (b"a/./b", True), (b"a/..", True), (b"a/b/../../c", True), (b"./a", True), (b"", True),
        (b"a/%2e%2e/b", True), (b"a/b/%2E.%2f../c", True), (b"../a", False), (b"a/../..", False), (b"./..", False),
        (b"a//../..", False), (b"a%2fb/../../c", False), (b"a/..%2f..", False), (b"a\\..\\..", False),
        (b"a/..;/..", False),
        (b";a/..", False), (b"%2fa/..", False), (b"a/b%5c../..", False), (b"a/b;../../c", False),
    ],
)  # fmt: skip
def test_a_path_is_confined_whoever_resolves_it(path: bytes, confined: bool) -> None:
    assert is_confined(path) is confined


def _java(path: bytes) -> bytes:
    """Parameters taken off, then decoded, then resolved."""
    return posixpath.normpath(unquote_to_bytes(re.sub(rb";[^/]*", b"", path)).replace(b"//", b"/"))


RESOLVERS = (
    lambda path: posixpath.normpath(unquote_to_bytes(path)),
    lambda path: posixpath.normpath(unquote_to_bytes(path).replace(b"\\", b"/")),
    lambda path: unquote_to_bytes(posixpath.normpath(path)),
    lambda path: unquote_to_bytes(posixpath.normpath(re.sub(rb"%2[eE]", b".", path))),
    _java,
)
PARTS = st.sampled_from([b"/", b"/", b"..", b".", b"%2e", b"%2E.", b"%2f", b"\\", b"%5c", b"a", b"b", b";x", b"//"])


@given(st.lists(PARTS, max_size=9))
def test_no_resolver_leaves_a_path_that_is_confined(parts: list[bytes]) -> None:
    path = b"".join(parts)
    if is_confined(path):
        for resolve in RESOLVERS:
            assert resolve(b"/mount/" + path).startswith(b"/mount")
