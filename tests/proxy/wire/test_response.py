"""Response heads: what of an upstream's answer is believed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.wire import response as module
from proxy.wire.response import ResponseHead, parse_response_head, response_trailers


def _read(fields: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    return parse_response_head(line + b"\r\n" + fields if fields else line)


def test_a_plain_answer_is_read_into_its_parts() -> None:
    response = _read(b"Server: s\r\nDate: d\r\nContent-Type: text/plain\r\nContent-Length: 7\r\nConnection: keep-alive")
    assert (response.status, response.reason, response.minor) == (200, b"OK", 1)
    assert response.content_length == 7
    assert response.dated
    assert not response.close
    assert not response.event_stream
    assert response.lines == [b"Server: s", b"Date: d", b"Content-Type: text/plain"]


@pytest.mark.parametrize("line", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 404 Not Found", b"HTTP/1.1 599 \xe9"])
def test_a_status_line_is_accepted(line: bytes) -> None:
    assert _read(line=line).status == int(line[9:12])


@pytest.mark.parametrize(
    "line",
    [
        b"hello world",
        b"",
        b"HTTP/2 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1  200 OK",
        b"ICY 200 OK",
        b"HTTP/1.1 200OK",
    ],
)
def test_a_status_line_is_refused(line: bytes) -> None:
    with pytest.raises(ExchangeError) as refusal:
        _read(line=line)
    assert refusal.value.failure.status == 502


@pytest.mark.parametrize(
    "fields",
    [
        b"A: b\r\n folded",
        b"A: b\r\n folded: c",
        b"A: b\nB: c",
        b"A: b\x00\nB: c",
        b"A b",
        b"A b: c",
        b"A\x00: b",
        b" : b",
        b": b",
        b"Content-Length: 5\x00",
        b"Transfer-Encoding: \x0bchunked",
        b"Connection: \x00close",
    ],
)
def test_fields_are_refused(fields: bytes) -> None:
    with pytest.raises(ExchangeError) as refusal:
        _read(fields)
    assert refusal.value.failure.status == 502


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: +5",
        b"Content-Length: ",
        b"Content-Length: \xb2",
        b"Content-Length: 12345678901234567890",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
    ],
)
def test_framing_in_doubt_is_a_fault_of_the_head(fields: bytes) -> None:
    response = _read(fields)
    assert response.fault
    assert (response.chunked, response.content_length, response.close) == (False, None, True)


def test_transfer_encoding_in_http_1_0_is_a_fault() -> None:
    assert _read(b"Transfer-Encoding: chunked", b"HTTP/1.0 200 OK").fault


@pytest.mark.parametrize(
    ("line", "mended"),
    [
        (b"A : b", b"A: b"),
        (b"A\t :b", b"A:b"),
        (b"A: b\x00c", b"A: b c"),
        (b"A: b\rc", b"A: b c"),
        (b"A \t: \x7f", b"A:"),
        (b"Set-Cookie: a=\x01b", b"Set-Cookie: a= b"),
    ],
)
def test_what_can_be_read_in_one_way_only_is_repaired(line: bytes, mended: bytes) -> None:
    for _ in range(2):  # the second time from memory
        response = _read(line + b"\r\nB: 1")
        assert response.lines == [mended, b"B: 1"]
        assert response.start == b"HTTP/1.1 200 OK\r\n" + mended + b"\r\nB: 1\r\n"


def test_a_mended_field_means_what_it_says() -> None:
    response = _read(b"Content-Length : 7\r\nConnection : close", b"HTTP/1.1 200 O\x00K")
    assert (response.content_length, response.close, response.reason) == (7, True, b"O K")
    assert _read(b"Content-Length: " + b"0" * 30 + b"7").content_length == 7


def test_usable_trailers_go_on() -> None:
    section = b"X-Sum: 1\r\nContent-Digest: d\r\ncontent-md5: m\r\nServer-Timing: db\r\nX-A : \x00a"
    usable = [b"X-Sum: 1", b"Content-Digest: d", b"content-md5: m", b"Server-Timing: db", b"X-A:  a"]
    assert response_trailers(section, frozenset()) == usable
    assert response_trailers(section, frozenset({b"x-sum", b"x-a"})) == usable[1:4]
    assert response_trailers(b"", frozenset()) == []


@pytest.mark.parametrize(
    "name",
    b"Content-Length Transfer-Encoding Content-Type Content-Encoding Host Authorization Set-Cookie Cookie Trailer TE "
    b"Connection Keep-Alive Upgrade Cache-Control Expires Age Date Vary Location Retry-After WWW-Authenticate "
    b"X-Request-ID X-Accel-Buffering".split(),
)
def test_trailers_that_may_not_be_used_are_dropped(name: bytes) -> None:
    for spelling in (name, name.lower()):
        assert response_trailers(spelling + b": 0\r\nX-Sum: 1", frozenset()) == [b"X-Sum: 1"]


def test_trailers_that_are_no_field_lines_are_refused() -> None:
    with pytest.raises(ExchangeError):
        response_trailers(b"X-Sum", frozenset())


def test_the_trailer_field_and_nominated_names_are_kept_apart() -> None:
    response = _read(b"Trailer: a\r\nTrailer: b\r\nConnection: close, X-Sum")
    assert (response.trailer, response.nominated, response.lines) == (b"a, b", {b"x-sum"}, [])


def test_hop_by_hop_fields_end_here() -> None:
    response = _read(
        b"Connection: close, X-Internal\r\nX-Internal: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nTrailer: X-Sum\r\n"
        b"Proxy-Authenticate: Basic\r\nX-Accel-Buffering: no\r\nX_Kept: 2"
    )
    assert response.close
    assert response.unbuffered
    assert response.upgrade == b"h2c"
    assert response.lines == [b"X_Kept: 2"]


def test_http_1_0_closes_unless_it_says_otherwise() -> None:
    assert _read(line=b"HTTP/1.0 200 OK").close
    assert not _read(b"Connection: Keep-Alive", b"HTTP/1.0 200 OK").close
    assert not _read(b"Connection: keep-alive, x", b"HTTP/1.0 200 OK").close


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK"])
def test_close_wins_wherever_it_stands(line: bytes) -> None:
    assert _read(b"Connection: close\r\nConnection: keep-alive", line).close
    assert _read(b"Connection: keep-alive\r\nConnection: x, close", line).close


def test_streams_and_upgrades_are_recognised() -> None:
    assert _read(b"Content-Type: Text/Event-Stream; charset=utf-8").event_stream
    upgraded = _read(
        b"Upgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: abc", b"HTTP/1.1 101 Switching Protocols"
    )
    assert (upgraded.upgrade, upgraded.websocket_accept) == (b"websocket", b"abc")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    known = module._known_lines
    monkeypatch.setattr(known, "_most", 1)
    monkeypatch.setattr(module._known_statuses, "_most", 1)
    known.clear()
    assert _read(b"A: 1\r\nB: 2\r\nC: " + b"3" * 300, b"HTTP/1.1 299 Never Seen Before").status == 299
    assert list(known) == [b"B: 2"]
    assert list(module._known_statuses) == [b"HTTP/1.1 299 Never Seen Before"]


def test_a_head_that_comes_again_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = module._known_heads
    monkeypatch.setattr(known, "_most", 1)
    known.clear()
    assert _read(b"A: 1") is _read(b"A: 1")
    assert _read(b"A: 2") is not _read(b"A: 2\r\nB: " + b"3" * 1100)
    assert list(known) == [b"HTTP/1.1 200 OK\r\nA: 2"]


def test_cookies_are_not_remembered() -> None:
    assert _read(b"Set-Cookie: session=secret").lines == [b"Set-Cookie: session=secret"]
    assert b"Set-Cookie: session=secret" not in module._known_lines


@settings(max_examples=300)
@given(st.binary(max_size=120), st.integers(0, 60))
def test_garbage_raises_nothing_but_a_refusal(noise: bytes, keep: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b"[:keep] + noise
    try:
        parse_response_head(head)
    except ExchangeError as error:
        assert error.failure.status == 502


def test_a_line_is_added_to_a_copy() -> None:
    response = _read(b"Content-Length: 7")
    more = response.with_lines([*response.lines, b"X-A: 1"], sized=True)
    assert (more.lines, more.content_length) == ([*response.lines, b"X-A: 1"], 7)
    assert more.start == response.start + b"X-A: 1\r\n"
    assert b"X-A: 1" not in response.lines


def test_what_is_said_to_other_proxies_ends_here() -> None:
    response = _read(b"X-Accel-Redirect: /inside/a\r\nX-Accel-Expires: 5\r\nX-A: b")
    assert (response.offload, response.lines) == (b"X-Accel-Redirect", [b"X-A: b"])
    assert response.offloaded


def test_a_challenge_says_what_its_connection_is() -> None:
    response = _read(b"WWW-Authenticate: NTLM\r\nWWW-Authenticate: Basic", b"HTTP/1.1 401 x")
    assert (response.binding, response.lines) == (True, [b"WWW-Authenticate: NTLM", b"WWW-Authenticate: Basic"])
    assert not _read(b"WWW-Authenticate: Basic", b"HTTP/1.1 401 x").binding
    assert _read(b"Proxy-Authenticate: Negotiate abc", b"HTTP/1.1 407 x").binding
