"""Requests of HTTP/2: what ends a stream, what is answered, and that nothing passes that the `h2` library refuses."""

import pytest
from h2.exceptions import ProtocolError
from h2.utilities import HeaderValidationFlags, validate_headers
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.wire.h2 import request as module
from proxy.wire.h2.request import Malformed, PseudoFields, RequestHead, check_request_trailers, parse_request_head
from proxy.wire.h2.tables import Field
from proxy.wire.request_line import HeadLimits

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


def read(section: list[Field], known: RequestHead | None = None, *, whole: bool = False) -> RequestHead:
    return parse_request_head(PseudoFields(tuple(section)), LIMITS, known, whole=whole)


def verdict(section: list[Field]) -> str:
    try:
        read(section)
    except Malformed:
        return "malformed"
    except ExchangeError as error:
        return error.failure.reason
    return "accepted"


def replaced(name: bytes, value: bytes | None, section: list[Field] = START) -> list[Field]:
    """The section with one field changed, or left out."""
    return [(n, v if n != name else value) for n, v in section if n != name or value is not None]


def test_a_request_becomes_what_http_1_would_have_made_of_it() -> None:
    head = read([*START, (b"user-agent", b"u"), (b"x-thing", b"1"), (b"te", b"trailers")])
    assert (head.method, head.target, head.host) == (b"GET", b"/a?b", b"example.org")
    assert head.fields.lines == [b"user-agent: u", b"x-thing: 1"]
    assert head.fields.te_trailers
    assert head.fields.user_agent == b"u"


def test_cookies_are_joined() -> None:
    head = read([*START, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")])
    assert head.fields.lines == [b"x: y", b"cookie: a=1; b=2"]


def test_names_that_forge_or_confuse_are_dropped() -> None:
    names = [b"x_forwarded_for", b"x-forwarded-for", b"proxy", b"a.b", b"x-real-ip", b"http2-settings"]
    assert read([*START, *[(name, b"1") for name in names]]).fields.lines == []


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
        (replaced(b":protocol", b"tcp, h2c", CONNECT), "protocol"),
        (replaced(b":protocol", b"", CONNECT), "protocol"),
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


def test_extended_connect_to_another_protocol_has_no_key() -> None:
    head = read(replaced(b":protocol", b"connect-udp", CONNECT))
    assert (head.method, head.fields.upgrades, head.fields.websocket) == (b"GET", (b"connect-udp",), False)
    assert head.fields.websocket_key is None


def test_extended_connect_becomes_an_upgrade_with_own_key() -> None:
    section = [*CONNECT, (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA==")]
    heads = [read(section) for _ in range(2)]
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
        assert read(section).host == sent


def test_a_known_host_is_compared_anew_under_another_scheme() -> None:
    section = [*replaced(b":scheme", b"http"), (b"host", b"example.org:80")]
    known = read(section)
    assert read(section, known).fields is known.fields
    with pytest.raises(ExchangeError):
        read([*START, (b"host", b"example.org:80")], known)


def test_known_fields_are_not_read_again() -> None:
    first = read([*START, (b"x", b"1")])
    second = read([*replaced(b":path", b"/other"), (b"x", b"1")], first)
    assert second.fields is first.fields
    assert second.target == b"/other"
    with pytest.raises(Malformed):
        read([*replaced(b":path", None), (b"x", b"1")], first)


@pytest.mark.parametrize(
    ("extra", "first", "second"),
    [([], True, False), ([], False, True), ([(b"content-length", b"0")], False, True)],
)
def test_the_same_fields_frame_a_body_or_none(extra: list[Field], first: bool, second: bool) -> None:
    known = read([*START, *extra], whole=first)
    assert known.fields.chunked == (not first and not extra)
    again = read([*START, *extra], known, whole=second)
    assert (again.fields is known.fields) == bool(extra)
    assert again.fields.chunked == (not second and not extra)


def test_a_length_without_a_body_is_malformed() -> None:
    known = read([*START, (b"content-length", b"5")])
    for before in (None, known):
        with pytest.raises(Malformed):
            read([*START, (b"content-length", b"5")], before, whole=True)


def test_regular_fields_stand_behind_the_others() -> None:
    pseudo = PseudoFields((*START, (b"x", b"1")))
    assert (pseudo.authority, pseudo.regular) == (b"example.org", ((b"x", b"1"),))
    assert PseudoFields(tuple(START)).regular == ()


def test_what_is_remembered_is_bounded() -> None:
    for number in range(5000):
        name, value = b"x-bounded-%d" % number, b"%d" % number
        assert read([*START, (name, value), (b"cookie", value)]).fields.lines[0] == name + b": " + value
    assert len(module._known_fields) <= 4096
    assert not [name for name, _ in module._known_fields if name == b"cookie"]


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
        check_request_trailers(tuple(section))


@pytest.mark.parametrize("name", [b"x-checksum", b"content-digest", b"content-length", b"host", b"authorization"])
def test_what_well_formed_trailers_say_matters_to_nobody(name: bytes) -> None:
    check_request_trailers(((name, b"1"),))
