"""Which hosts and ports are valid, and which are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import authority as module
from proxy.wire.authority import AUTHORITIES, Authority, without_port


def _named(text: bytes) -> Authority:
    found = AUTHORITIES[text]
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("one", "other", "scheme"),
    [
        (b"a.example", b"A.Example", b"http"),
        (b"a.example", b"a.example:80", b"http"),
        (b"a.example", b"a.example:", b"http"),
        (b"a.example:", b"a.example:0080", b"http"),
        (b"a.example", b"a.example:443", b"https"),
        (b"a.example", b"a.example.", b"https"),
        (b"[::1]", b"[0:0:0:0:0:0:0:1]:80", b"http"),
        (b"[::FFFF:192.0.2.1]", b"[::ffff:c000:201]", b"http"),
    ],
)
def test_one_place_in_two_spellings(one: bytes, other: bytes, scheme: bytes) -> None:
    assert _named(one).same_as(_named(other), scheme)
    assert _named(other).same_as(_named(one), scheme)


@pytest.mark.parametrize(
    ("one", "other", "scheme"),
    [
        (b"a.example", b"b.example", b"http"),
        (b"a.example", b"a.example:443", b"http"),
        (b"a.example", b"a.example:80", b"https"),
        (b"a.example:80", b"a.example:8080", b"http"),
        (b"a.example:", b"a.example:0", b"http"),
        (b"[::1]", b"[::2]", b"http"),
        (b"127.0.0.1", b"[::ffff:127.0.0.1]", b"http"),
    ],
)
def test_two_places(one: bytes, other: bytes, scheme: bytes) -> None:
    assert not _named(one).same_as(_named(other), scheme)


def test_forwarded_host_keeps_spelling_without_empty_port() -> None:
    assert _named(b"A.Example.:") == (b"A.Example.", b"a.example", None)
    assert _named(b"A.Example:080") == (b"A.Example:080", b"a.example", 80)
    assert _named(b"[0::1]:") == (b"[0::1]", b"[::1]", None)


@pytest.mark.parametrize(
    "text",
    [
        b"", b":", b":80", b".", b".a", b"a b", b"a/b", b"a,b", b"a@b", b"a%41", b"a\\b", b'a"b', b"a<b", b"a\xe9",
        b"a:b", b"a:-1", b"a:65536", b"a:123456", b"a:80:80", b"[]", b"[::1", b"::1", b"[1.2.3.4]", b"[::1]a", b"[::g]",
        b"[v1.a]", b"[::1%25lo]", b"[1:2:3:4:5:6:7:8:9]",
    ],
)  # fmt: skip
def test_what_is_no_authority(text: bytes) -> None:
    assert AUTHORITIES[text] is None


@pytest.mark.parametrize(
    ("text", "host"), [(b"A.example:80", b"A.example"), (b"a", b"a"), (b"[::1]:80", b"[::1]"), (b"[::1]", b"[::1]")]
)
def test_a_host_without_its_port(text: bytes, host: bytes) -> None:
    assert without_port(text) == host


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AUTHORITIES, "_most", 1)
    AUTHORITIES.clear()
    for text in (b"a", b"b", b"c" * 300):
        assert _named(text) is not None
    assert list(AUTHORITIES) == [b"b"]


@given(st.binary(max_size=12) | st.text("aA.:-[]01%~!,", max_size=12).map(str.encode))
def test_what_is_accepted_can_be_read_in_one_way_only(text: bytes) -> None:
    found = module._parse(text)
    if found is not None:
        assert found.host
        assert found.port is None or 0 <= found.port <= 65535
        assert module._parse(found.text) == found
        assert not set(b'/@?#,%\\"<> \t\r\n') & set(text)
        assert not found.text.endswith(b":")
