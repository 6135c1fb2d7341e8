"""Heads of HTTP/2: what ends a stream, what is answered, and that nothing passes that the `h2` library would refuse."""

import pytest
from h2.exceptions import ProtocolError
from h2.utilities import HeaderValidationFlags, validate_headers
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.wire import h2_head as module
from proxy.wire.h2_head import (
    Field,
    Malformed,
    check_request_trailers,
    parse_request_head,
    regular_fields,
    response_section,
    upgrade_section,
)
from proxy.wire.request_line import HeadLimits
from proxy.wire.response import parse_response_head

LIMITS = HeadLimits()
START = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/a?b")]
CONNECT = [
    (b":method", b"CONNECT"),
    (b":scheme", b"https"),
    (b":authority", b"example.org"),
    (b":path", b"/ws"),
    (b":protocol", b"websocket"),
    (b"sec-websocket-version", b"13"),
]


def verdict(section: list[Field], limits: HeadLimits = LIMITS) -> str:
    try:
        parse_request_head(section, limits, None)
    except Malformed:
        return "malformed"
    except ExchangeError as error:
        return error.failure.reason
    return "accepted"


def replaced(name: bytes, value: bytes | None, section: list[Field] = START) -> list[Field]:
    """The section with one field changed, or left out."""
    return [(n, v if n != name else value) for n, v in section if n != name or value is not None]


def test_a_request_becomes_what_http_1_would_have_made_of_it() -> None:
    head = parse_request_head([*START, (b"user-agent", b"u"), (b"x-thing", b"1"), (b"te", b"trailers")], LIMITS, None)
    assert (head.method, head.target, head.host) == (b"GET", b"/a?b", b"example.org")
    assert head.fields.lines == [b"user-agent: u", b"x-thing: 1"]
    assert head.fields.te_trailers
    assert head.fields.user_agent == b"u"


def test_cookies_are_joined() -> None:
    head = parse_request_head([*START, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")], LIMITS, None)
    assert head.fields.lines == [b"x: y", b"cookie: a=1; b=2"]


def test_names_that_forge_or_confuse_are_dropped() -> None:
    names = [b"x_forwarded_for", b"x-forwarded-for", b"proxy", b"a.b", b"x-real-ip", b"http2-settings"]
    assert parse_request_head([*START, *[(name, b"1") for name in names]], LIMITS, None).fields.lines == []


@pytest.mark.parametrize(
    "section",
    [
        replaced(b":method", None),
        replaced(b":scheme", None),
        replaced(b":path", None),
        replaced(b":path", b""),
        replaced(b":scheme", b"ftp"),
        [*START, (b":path", b"/")],
        [*START, (b":status", b"200")],
        [*START, (b":thing", b"1")],
        [*START, (b"x", b"1"), (b":thing", b"1")],
        [START[0], START[1], (b"x", b"1"), START[2], START[3]],
        [*START, (b":protocol", b"websocket")],
        [*START, (b"", b"1")],
        [*START, (b"X-Thing", b"1")],
        [*START, (b"x thing", b"1")],
        [*START, (b"x:y", b"1")],
        [*START, (b"x\x80", b"1")],
        [*START, (b"x", b"a\rb")],
        [*START, (b"x", b"a\nb")],
        [*START, (b"x", b"a\0b")],
        [*START, (b"x", b" a")],
        [*START, (b"x", b"a\t")],
        [*START, (b"connection", b"close")],
        [*START, (b"keep-alive", b"1")],
        [*START, (b"proxy-connection", b"1")],
        [*START, (b"transfer-encoding", b"chunked")],
        [*START, (b"upgrade", b"h2c")],
        [*START, (b"te", b"gzip")],
        [*START, (b"te", b"trailers, gzip")],
    ],
)
def test_a_malformed_request_ends_its_stream(section: list[Field]) -> None:
    assert verdict(section) == "malformed"


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (replaced(b":method", b"G T"), "request_line"),
        (replaced(b":method", b"get"), "request_line"),
        (replaced(b":method", b"GE\rT"), "request_line"),
        (replaced(b":method", b"TRACE"), "method"),
        (replaced(b":protocol", None, CONNECT), "method"),
        (replaced(b":protocol", b"connect-udp", CONNECT), "protocol"),
        ([*CONNECT, (b"content-length", b"0")], "upgrade_body"),
        (replaced(b":path", b"a"), "target"),
        (replaced(b":path", b"http://example.org/"), "target"),
        (replaced(b":path", b"*"), "target"),
        (replaced(b":path", b"/ b"), "request_line"),
        (replaced(b":path", b"/#b"), "request_line"),
        (replaced(b":path", b"/\x80"), "request_line"),
        (replaced(b":path", b"/a/../b"), "target_path"),
        (replaced(b":path", b"/a%0a"), "target_path"),
        (replaced(b":path", b"/a%7F?b"), "target_path"),
        (replaced(b":path", b"/" + b"a" * 8200), "target_too_long"),
        (replaced(b":authority", None), "host"),
        (replaced(b":authority", b""), "host"),
        (replaced(b":authority", b"u@example.org"), "host"),
        (replaced(b":authority", b"example.org/x"), "host"),
        ([*START, (b"host", b"other.org")], "host"),
        ([*START, (b"host", b"example.org"), (b"host", b"example.org")], "host"),
        ([*START, (b"content-length", b"1"), (b"content-length", b"1")], "content_length"),
        ([*START, (b"content-length", b"+1")], "content_length"),
        ([*START, (b"expect", b"magic")], "expect"),
        ([*START, *[(b"x", b"1")] * 100], "head_too_large"),
        ([*START, (b"x", b"a" * 9000)], "head_too_large"),
        ([*START, *[(b"cookie", b"a" * 200)] * 60], "head_too_large"),
        ([*START, *[(b"x", b"a" * 4000)] * 10], "head_too_large"),
    ],
)
def test_what_http_1_could_have_said_is_answered(section: list[Field], reason: str) -> None:
    assert verdict(section) == reason


@pytest.mark.parametrize(
    "section",
    [
        START,
        [*replaced(b":authority", None), (b"host", b"example.org")],
        [*START, (b"host", b"Example.org")],
        replaced(b":path", b"*", replaced(b":method", b"OPTIONS")),
        [*START, (b"x", b"")],
        [*START, (b"content-length", b"7"), (b"expect", b"100-continue")],
        CONNECT,
    ],
)
def test_what_is_valid_is_accepted(section: list[Field]) -> None:
    assert verdict(section) == "accepted"


def test_extended_connect_becomes_an_upgrade_with_own_key() -> None:
    section = [*CONNECT, (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA==")]
    heads = [parse_request_head(section, LIMITS, None) for _ in range(2)]
    keys = {head.fields.websocket_key for head in heads}
    assert len(keys) == 2
    for head in heads:
        assert head.method == b"GET"
        assert head.fields.websocket
        lines = [line for line in head.fields.lines if line.lower().startswith(b"sec-websocket-key")]
        assert lines == [b"Sec-WebSocket-Key: " + (head.fields.websocket_key or b"")]


@pytest.mark.parametrize(
    ("scheme", "authority", "host", "sent"),
    [
        (b"http", b"a.example", b"A.example:80", b"a.example"),
        (b"http", b"a.example:", b"a.example", b"a.example"),
        (b"https", b"a.example:443", b"a.example", b"a.example:443"),
        (b"https", b"a.example.", b"a.example:443", b"a.example."),
        (b"https", b"a.example", b"a.example:80", None),
        (b"https", b"a.example", b"b.example", None),
        (b"https", b"a%2eexample", None, None),
        (b"https", b"-a+b.example", None, b"-a+b.example"),
        (b"https", None, b"a.example:", b"a.example"),
    ],
)
def test_authority_and_host_name_one_place(
    scheme: bytes, authority: bytes | None, host: bytes | None, sent: bytes | None
) -> None:
    section = replaced(b":scheme", scheme, replaced(b":authority", authority))
    section += [(b"host", host)] if host is not None else []
    if sent is None:
        assert verdict(section) == "host"
    else:
        assert parse_request_head(section, LIMITS, None).host == sent


def test_a_known_host_is_compared_anew_under_another_scheme() -> None:
    section = [*replaced(b":scheme", b"http"), (b"host", b"example.org:80")]
    known = parse_request_head(section, LIMITS, None)
    assert parse_request_head(section, LIMITS, known).fields is known.fields
    with pytest.raises(ExchangeError):
        parse_request_head([*START, (b"host", b"example.org:80")], LIMITS, known)


def test_known_fields_are_not_read_again() -> None:
    first = parse_request_head([*START, (b"x", b"1")], LIMITS, None)
    second = parse_request_head([*replaced(b":path", b"/other"), (b"x", b"1")], LIMITS, first)
    assert second.fields is first.fields
    assert second.target == b"/other"
    assert regular_fields([*START, (b"x", b"1")]) == ([(b"x", b"1")], b"example.org")
    with pytest.raises(Malformed):
        parse_request_head([*replaced(b":path", None), (b"x", b"1")], LIMITS, first)


def test_a_section_may_have_no_regular_field() -> None:
    assert regular_fields(START) == ((), b"example.org")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("_MOST_REMEMBERED", "_MOST_SECTIONS"):
        monkeypatch.setattr(module, bound, 2)
    for number in range(10):
        name, value = b"x-bounded-%d" % number, b"%d" % number
        head = parse_request_head([*START, (name, value)], LIMITS, None)
        assert head.fields.lines == [name + b": " + value]
        response = parse_response_head(b"HTTP/1.1 200 OK\r\n" + name + b": " + value)
        for _ in range(3):
            assert list(response_section(response, None, None)) == [(b":status", b"200"), (name, value)]


def test_an_upgrade_is_answered_without_its_key() -> None:
    switched = parse_response_head(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat"
    )
    assert upgrade_section(switched) == [(b":status", b"200"), (b"sec-websocket-protocol", b"chat")]


NAMES = st.sampled_from(
    [b":method", b":scheme", b":path", b":authority", b":protocol", b":status", b":x", b"host", b"te", b"connection",
     b"x", b"X", b"", b"a b", b"a:b", b"cookie", b"content-length", b"upgrade", b"\xff"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([b"GET", b"CONNECT", b"https", b"/", b"example.org", b"trailers", b"websocket", b"", b"5", b" a"]),
    st.binary(max_size=6),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.booleans())
def test_nothing_passes_that_the_library_refuses(extra: list[Field], started: bool) -> None:
    section = [*START, *extra] if started else extra
    if verdict(section) != "accepted":
        return
    flags = HeaderValidationFlags(is_client=False, is_trailer=False, is_response_header=False, is_push_promise=False)
    authority, host = dict(section).get(b":authority"), dict(section).get(b"host")
    try:
        list(validate_headers(section, flags))
    except ProtocolError as error:
        # Case does not tell hosts apart (RFC 9110 section 4.2.3), whatever the library thinks.
        assert authority is not None and host is not None and authority.lower() == host.lower(), error  # noqa: PT018


@pytest.mark.parametrize(
    "section",
    [
        [(b":path", b"/")],
        [(b"te", b"gzip")],
        [(b"transfer-encoding", b"chunked")],
        [(b"", b"1")],
        [(b"a b", b"1")],
        [(b"X", b"1")],
        [(b"x", b"a\nb")],
        [(b"connection", b"close")],
    ],
)
def test_malformed_trailers_end_the_stream(section: list[Field]) -> None:
    with pytest.raises(Malformed):
        check_request_trailers(section)


@pytest.mark.parametrize("name", [b"x-checksum", b"content-digest", b"content-length", b"host", b"authorization"])
def test_what_well_formed_trailers_say_matters_to_nobody(name: bytes) -> None:
    check_request_trailers([(name, b"1")])


def test_a_response_is_lower_cased_and_dated() -> None:
    response = parse_response_head(b"HTTP/1.1 200 OK\r\nX-Thing:  1 \r\nSet-Cookie: a=b\r\nConnection: close")
    section = response_section(response, 5, b"now")
    assert list(section) == [
        (b":status", b"200"),
        (b"x-thing", b"1"),
        (b"set-cookie", b"a=b"),
        (b"content-length", b"5"),
        (b"date", b"now"),
    ]


def test_a_remembered_section_is_nobody_s_to_change() -> None:
    """Fields that one request's answer has beside it must not turn up in another's."""
    response = parse_response_head(b"HTTP/1.1 200 OK\r\nX-Shared: 1")
    response_section(response, 5, b"then")
    first, second = (response_section(response, 5, b"then") for _ in range(2))
    assert first is second
    assert isinstance(first, tuple)


def test_repeated_fields_are_indexed_but_cookies_never() -> None:
    response = parse_response_head(b"HTTP/1.1 200 OK\r\nX-Seen-Once: 1\r\nSet-Cookie: a=b")
    first, second = (response_section(response, None, None) for _ in range(2))
    assert [field.indexable for field in first] == [True, False, False]
    assert [field.indexable for field in second] == [True, True, False]
