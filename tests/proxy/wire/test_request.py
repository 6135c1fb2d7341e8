"""Request heads: what is accepted, what is refused and why, and that other parsers never read them differently."""

import h11
import httptools
import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request as GunicornRequest
from gunicorn.http.unreader import IterUnreader
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.wire import request_line as module
from proxy.wire.fields import upstream_block
from proxy.wire.request import parse_request_fields
from proxy.wire.request_line import HeadLimits
from proxy.wire.upgrade import WEBSOCKETS
from tests.proxy.wire.reading import LIMITS, read, verdict

GET = b"GET / HTTP/1.1\r\n"
HOST = b"Host: example.org\r\n"


def test_a_plain_request_is_read_into_its_parts() -> None:
    head = read(b"POST /a?b=%c HTTP/1.1\r\nHost: example.org:8080\r\nContent-Length: 5\r\nX-Thing: 1\r\nUser-Agent: u")
    assert (head.method, head.target, head.minor, head.host) == (b"POST", b"/a?b=%c", 1, b"example.org:8080")
    assert head.fields.content_length == 5
    assert head.fields.user_agent == b"u"
    assert head.fields.lines == [b"X-Thing: 1", b"User-Agent: u"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"GET /", "request_line"),
        (b"GET  / HTTP/1.1", "request_line"),
        (b"GET / HTTP/1.1 ", "request_line"),
        (b"GET  HTTP/1.1", "request_line"),
        (b" GET / HTTP/1.1", "request_line"),
        (b"GET /\x80 HTTP/1.1", "request_line"),
        (b"GET /#x HTTP/1.1", "request_line"),
        (b"GET /\x00 HTTP/1.1", "request_line"),
        (b"GET\t/ HTTP/1.1", "request_line"),
        (b"get / HTTP/1.1", "request_line"),
        (b"G(T / HTTP/1.1", "request_line"),
        (b"GET / HTTX/1.1", "request_line"),
        (b"GET / HTTP/1.10", "request_line"),
        (b"GET / HTTP/1.2", "version"),
        (b"GET / HTTP/2.0", "version"),
        (b"PRI * HTTP/2.0", "version"),
        (b"CONNECT a:1 HTTP/1.1", "method"),
        (b"TRACE / HTTP/1.1", "method"),
        (b"TRACK / HTTP/1.1", "method"),
        (b"GET * HTTP/1.1", "target"),
        (b"GET a HTTP/1.1", "target"),
        (b"GET ftp://example.org/ HTTP/1.1", "target"),
        (b"GET http://other.org/ HTTP/1.1", "host"),
        (b"GET http://u@example.org/ HTTP/1.1", "host"),
        (b"GET http:/// HTTP/1.1", "host"),
        (b"GET /a/../b HTTP/1.1", "target_path"),
        (b"GET /.. HTTP/1.1", "target_path"),
        (b"GET /a/. HTTP/1.1", "target_path"),
        (b"GET /%2e%2E/x HTTP/1.1", "target_path"),
        (b"GET /a%2f..%2fb HTTP/1.1", "target_path"),
        (b"GET /a\\..\\b HTTP/1.1", "target_path"),
        (b"GET /..;/b HTTP/1.1", "target_path"),
        (b"GET /%zz HTTP/1.1", "target_path"),
        (b"GET /% HTTP/1.1", "target_path"),
        (b"GET /%00 HTTP/1.1", "target_path"),
        (b"GET http://example.org/../x HTTP/1.1", "target_path"),
        (b"GET /" + b"a" * 8200 + b" HTTP/1.1", "target_too_long"),
    ],
)
def test_a_request_line_is_refused(line: bytes, reason: str) -> None:
    assert verdict(line + b"\r\n" + HOST + b"\r\n") == reason


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1",
        b"PROPFIND /dav HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET //a HTTP/1.1",
        b"GET /.well-known/x HTTP/1.1",
        b"GET /a...b/..c HTTP/1.1",
        b"GET /?q=../x&%zz HTTP/1.1",
        b"GET /caf%C3%A9 HTTP/1.1",
    ],
)
def test_a_request_line_is_accepted(line: bytes) -> None:
    assert verdict(line + b"\r\n" + HOST + b"\r\n") == "accepted"


@pytest.mark.parametrize("code", [*range(0x20), 0x7F])
@pytest.mark.parametrize("form", [b"/a%%%02X", b"/a%%%02x", b"/%%%02Xa/b", b"http://example.org/a%%%02X?q"])
def test_an_encoded_control_character_in_a_path_is_refused(code: int, form: bytes) -> None:
    assert verdict(b"GET %s HTTP/1.1\r\n%s\r\n" % (form % code, HOST)) == "target_path"


@pytest.mark.parametrize("target", [b"/?q=%0a%00", b"/a%20b%21", b"/%250a", b"/%C2%85%E2%80%A8", b"/%80%9f%A0"])
def test_other_encoded_bytes_are_the_applications(target: bytes) -> None:
    assert read(b"GET %s HTTP/1.1\r\nHost: example.org" % target).target == target


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"http://example.org/a?b", b"/a?b"), (b"HTTPS://EXAMPLE.org", b"/"), (b"http://example.org?q", b"/?q")],
)
def test_absolute_form_becomes_origin_form(target: bytes, path: bytes) -> None:
    assert read(b"GET %s HTTP/1.1\r\nHost: example.org" % target).target == path


@pytest.mark.parametrize(("target", "path"), [(b"http://example.org", b"*"), (b"http://example.org/", b"/")])
def test_options_of_an_authority_alone_is_about_the_server(target: bytes, path: bytes) -> None:
    assert read(b"OPTIONS %s HTTP/1.1\r\nHost: example.org" % target).target == path


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "host"),
        (HOST * 2, "host"),
        (b"Host: a b\r\n", "host"),
        (b"Host: a/b\r\n", "host"),
        (b"Host:\r\n", "host"),
        (b"Host: [::1\r\n", "host"),
        (b"Host: a:port\r\n", "host"),
        (HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "length_and_encoding"),
        (HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n", "content_length"),
        (HOST + b"Content-Length: 1, 1\r\n", "content_length"),
        (HOST + b"Content-Length: +1\r\n", "content_length"),
        (HOST + b"Content-Length: -1\r\n", "content_length"),
        (HOST + b"Content-Length: 0x1\r\n", "content_length"),
        (HOST + b"Content-Length: 1_0\r\n", "content_length"),
        (HOST + b"Content-Length:\r\n", "content_length"),
        (HOST + b"Content-Length: \xb2\r\n", "content_length"),
        (HOST + b"Content-Length: " + b"1" * 20 + b"\r\n", "content_length"),
        (HOST + b"Transfer-Encoding: gzip\r\n", "transfer_encoding"),
        (HOST + b"Transfer-Encoding: gzip, chunked\r\n", "unknown_coding"),
        (HOST + b"Transfer-Encoding: identity\r\n", "transfer_encoding"),
        (HOST + b"Transfer-Encoding: xchunked\r\n", "transfer_encoding"),
        (HOST + b'Transfer-Encoding: "chunked"\r\n', "transfer_encoding"),
        (HOST + b"Transfer-Encoding: chunked, gzip\r\n", "transfer_encoding"),
        (HOST + b"Transfer-Encoding: gzip, chunked, chunked\r\n", "transfer_encoding"),
        (HOST + b"Transfer-Encoding: gzip,, chunked\r\n", "transfer_encoding"),
        (HOST + b"Transfer-Encoding: gzip, deflate, chunked\r\n", "unknown_coding"),
        (HOST + b"Transfer-Encoding: chunked, chunked\r\n", "transfer_encoding"),
        (HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "transfer_encoding"),
        (HOST + b"Transfer-Encoding: chunked,\r\n", "transfer_encoding"),
        (HOST + b"Transfer-Encoding:\r\n", "transfer_encoding"),
        (HOST + b"Transfer-Encoding: \x0bchunked\r\n", "line_ending"),
        (HOST + b"A: b\r\n c\r\n", "field_line"),
        (b" A: b\r\n" + HOST, "field_line"),
        (HOST + b"A : b\r\n", "field_line"),
        (HOST + b": b\r\n", "field_line"),
        (HOST + b"A\r\n", "field_line"),
        (HOST + b"A\x7f: b\r\n", "line_ending"),
        (HOST + b"A(: b\r\n", "field_line"),
        (HOST + b"\xe9: b\r\n", "field_line"),
        (HOST + b"A: b\nB: c\r\n", "line_ending"),
        (HOST + b"A: b\rB: c\r\n", "line_ending"),
        (HOST + b"A: b\rB\nC: c\r\n", "line_ending"),
        (HOST + b"A: \x00\r\n", "line_ending"),
        (HOST + b"A: \x01\r\n", "line_ending"),
        (HOST + b"A: \x7f\r\n", "line_ending"),
        (HOST + b"Expect: wonders\r\n", "expect"),
        (HOST + b"A: " + b"b" * 8200 + b"\r\n", "head_too_large"),
        (HOST + b"A: b\r\n" * 100, "head_too_large"),
    ],
)
def test_fields_are_refused(block: bytes, reason: str) -> None:
    assert verdict(GET + block + b"\r\n") == reason


def test_absolute_form_does_not_replace_a_missing_host() -> None:
    assert verdict(b"GET http://example.org/ HTTP/1.1\r\n\r\n") == "host"


def test_http_1_0_may_leave_out_host_but_not_chunk() -> None:
    assert verdict(b"GET / HTTP/1.0\r\n\r\n") == "accepted"
    assert verdict(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == "transfer_encoding"


def _websocket(extra: bytes = b"", key: bytes = b"dGhlIHNhbXBsZSBub25jZQ==") -> bytes:
    return (
        HOST
        + b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
        + b"Sec-WebSocket-Key: %s\r\n" % key
        + extra
    )


def test_a_websocket_handshake_is_recognised() -> None:
    fields = parse_request_fields(_websocket()[:-2], LIMITS)
    assert fields.websocket
    assert fields.upgrades == (b"WebSocket",)


@pytest.mark.parametrize(
    "block",
    [
        _websocket(key=b"short"),
        _websocket().replace(b"Sec-WebSocket-Version: 13\r\n", b""),
        _websocket(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        HOST + b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ],
)
def test_any_other_upgrade_is_an_ordinary_request(block: bytes) -> None:
    fields = parse_request_fields(block[:-2], LIMITS)
    assert not fields.websocket
    assert WEBSOCKETS.choose(fields) == b""
    assert b"pgrade" not in upstream_block(fields, fields.host, b"")


def test_an_upgrade_with_a_body_is_refused() -> None:
    assert verdict(GET + _websocket(b"Content-Length: 3\r\n") + b"\r\n") == "upgrade_body"


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-For",
        b"x-forwarded-proto",
        b"X-Forwarded-Host",
        b"X-Forwarded-Port",
        b"X-Forwarded-Prefix",
        b"X-Forwarded-Ssl",
        b"X-Forwarded-Anything",
        b"X-Client-Cert-Subject",
        b"X-Real-IP",
        b"X-Request-ID",
        b"Forwarded",
        b"Proxy",
        b"X_Forwarded_For",
        b"X.Forwarded.For",
        b"SCRIPT_NAME",
        b"Script-Name",
        b"PATH_INFO",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"Proxy-Authorization",
        b"Trailer",
        b"HTTP2-Settings",
    ],
)
def test_a_field_does_not_reach_the_upstream(name: bytes) -> None:
    fields = parse_request_fields(HOST + name + b": forged", LIMITS)
    assert b"forged" not in upstream_block(fields, fields.host, b"")


def test_the_upstream_gets_our_word_about_the_client() -> None:
    fields = parse_request_fields(b"A: 1\r\nHost: h\r\nX-Real-IP: 6.6.6.6\r\nB:2", LIMITS)
    assert upstream_block(fields, fields.host, b"X-Forwarded-For: 192.0.2.1\r\n") == (
        b"Host: h\r\nX-Forwarded-For: 192.0.2.1\r\nA: 1\r\nB:2\r\n"
    )
    assert upstream_block(parse_request_fields(b"", LIMITS), None, b"") == b"Host: \r\n"


def test_connection_options_remove_nominated_fields() -> None:
    fields = parse_request_fields(
        b"Connection: close, X-Secret,, Referer\r\nconnection: User-Agent, keep-alive\r\nX-Secret: 1\r\nX-Kept: 2\r\n"
        b"Referer: r\r\nUser-Agent: u\r\nTE: gzip, trailers",
        LIMITS,
    )
    assert fields.close
    assert not fields.keep_alive, "close wins"
    assert fields.lines == [b"X-Kept: 2"]
    assert fields.referer is None
    assert fields.user_agent is None
    assert fields.te_trailers
    assert b"Connection: TE\r\nTE: trailers\r\n" in upstream_block(fields, b"h", b"")


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Authorization", b"Cookie", b"X-Forwarded-For"])
def test_a_client_cannot_nominate_away_what_protects(name: bytes) -> None:
    block = b"Connection: close, %s\r\nHost: h\r\nContent-Length: 3\r\nAuthorization: a\r\nCookie: c" % name
    fields = parse_request_fields(block, LIMITS)
    assert fields.host == b"h"
    assert fields.content_length == 3
    assert fields.lines == [b"Authorization: a", b"Cookie: c"]
    assert b"X-Forwarded-For: 192.0.2.1" in upstream_block(fields, b"h", b"X-Forwarded-For: 192.0.2.1\r\n")


def test_what_the_gateway_needs_is_kept_aside() -> None:
    fields = parse_request_fields(
        b"Connection: Keep-Alive\r\nX-Request-ID: abc\r\nAccept: text/html\r\nIdempotency-Key: k\r\n"
        b"Expect: 100-Continue",
        LIMITS,
    )
    assert fields.accept == b"text/html"
    assert fields.expect
    assert fields.keep_alive
    assert fields.lines == [b"Idempotency-Key: k", b"Accept: text/html"]


def test_many_short_fields_are_not_one_long_field() -> None:
    block = b"\r\n".join(b"X-%d: %s" % (n, b"v" * 200) for n in range(60))
    assert len(parse_request_fields(block, LIMITS).lines) == 60


def test_remembered_request_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    known = module._known_lines
    monkeypatch.setattr(known, "_most", 1)
    known.clear()
    for target in (b"/a", b"/b", b"/b", b"/" + b"c" * 300):
        assert read(b"GET %s HTTP/1.1\r\nHost: a" % target).target == target
    assert list(known) == [b"GET /b HTTP/1.1"]


# Properties.

# httptools knows a list of methods; that it refuses others says nothing about the head.
HTTPTOOLS_METHODS = {b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT"}

NAMES = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"A",
        b"Accept",
        b"X_y",
        b"Expect",
        b"Upgrade",
        b"TE",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"a", b"chunked", b"1", b"0", b"close", b"keep-alive", b"a, b", b"100-continue", b"", b"websocket"]
    ),
    st.binary(max_size=12),
)
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b":", b": ", b" :", b":\t"]), VALUES), max_size=6)
LINES = st.tuples(
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"PUT"]),
    st.sampled_from([b"/", b"/a?b", b"*", b"http://a/", b"//x", b"/%41"]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2"]),
)
EDITS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.binary(min_size=1, max_size=2)), max_size=3)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads that are nearly right: composed of likely parts, then damaged in a few places."""
    line = b" ".join(draw(LINES))
    fields = [b"Host: a", *(b"".join(field) for field in draw(FIELDS))]
    head = bytearray(b"\r\n".join([line, *fields]))
    for position, remove, insert in draw(EDITS):
        at = position % (len(head) + 1)
        head[at : at + remove] = insert
    return bytes(head)


@settings(max_examples=500)
@given(heads())
def test_damage_raises_nothing_but_a_refusal(head: bytes) -> None:
    try:
        read(head)
    except ExchangeError as error:
        assert error.failure.status in (400, 405, 414, 417, 431, 501, 505)


def _h11_reading(head: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]] | None:
    connection = h11.Connection(h11.SERVER)
    try:
        connection.receive_data(head + b"\r\n\r\n")
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    assert isinstance(event, h11.Request)
    return event.method, event.target, list(event.headers)


class _Seen:
    """Collects what httptools tells."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def _httptools_reading(head: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]] | None:
    seen = _Seen()
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(head + b"\r\n\r\n")
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    return parser.get_method(), seen.url, seen.headers


@settings(max_examples=500)
@given(heads())
def test_what_is_accepted_others_read_the_same_way_or_refuse(head: bytes) -> None:
    try:
        ours = read(head)
    except ExchangeError:
        return
    for other in (_h11_reading(head), _httptools_reading(head)):
        if other is None:
            continue
        method, target, headers = other
        assert method == ours.method
        assert target in (ours.target, head.split(b" ")[1])
        named: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            named.setdefault(name.lower(), []).append(value.strip(b" \t"))
        lengths = named.get(b"content-length", [])
        assert [int(length) for length in lengths] == (
            [] if ours.fields.content_length is None else [ours.fields.content_length]
        )
        assert (named.get(b"transfer-encoding", []) != []) == ours.fields.chunked
        assert named.get(b"host", [None]) == [ours.fields.host]


def _gunicorn_refuses(head: bytes) -> bool:
    config = Config()
    config.set("http_parser", "python")
    try:
        GunicornRequest(config, IterUnreader([head + b"\r\n\r\n"]), ("192.0.2.1", 1))
    except (ParseException, StopIteration):
        return True
    return False


@settings(max_examples=500)
@given(heads())
def test_what_two_others_refuse_is_refused(head: bytes) -> None:
    """httptools and gunicorn's own parser; the cases of a third, lighttpd, stand in the case table."""
    try:
        ours = read(head)
    except ExchangeError:
        return
    if ours.method not in HTTPTOOLS_METHODS:
        return
    assert not (_httptools_reading(head) is None and _gunicorn_refuses(head))


@settings(max_examples=300)
@given(heads())
def test_what_is_sent_upstream_reads_as_what_was_accepted(head: bytes) -> None:
    """Parsing what was serialised gives the same request: nothing is lost, nothing is smuggled in."""
    try:
        ours = read(head)
    except ExchangeError:
        return
    if ours.host is None:
        return  # an empty Host goes upstream, which the gateway itself would refuse
    block = upstream_block(ours.fields, ours.host, b"")
    again = parse_request_fields(block.removesuffix(b"\r\n"), HeadLimits(fields=200))
    assert again.host == ours.host
    assert [line for line in again.lines if not line.startswith(b"X-Forwarded")] == ours.fields.lines
    assert not again.chunked
    assert again.content_length is None


def test_dot_segments_are_left_to_a_route_that_passes_them() -> None:
    line = b"GET /a/../b HTTP/1.1"
    assert read(line + b"\r\n" + HOST.rstrip(), HeadLimits(dots=True)).target == b"/a/../b"
    with pytest.raises(ExchangeError):  # and not remembered as valid
        read(line + b"\r\n" + HOST.rstrip())
