"""What is made rather than read: identifiers, dates, status lines, the gateway's own answers; and remembered names."""

import json

import pytest

from proxy import errors
from proxy.errors import ExchangeError
from proxy.wire import names
from proxy.wire.fields import (
    Clock,
    RequestIds,
    cookie_value,
    informational,
    is_bodiless,
    websocket_accept,
)
from proxy.wire.head import bare_line_feed
from proxy.wire.local_response import error_response
from proxy.wire.names import Kind, Names
from proxy.wire.response import parse_response_head, status_line


def test_request_ids_differ() -> None:
    ids, others = RequestIds(), RequestIds()
    made = {ids.make(), ids.make(), others.make()}
    assert len(made) == 3


def test_a_date_has_the_form_of_the_rfc() -> None:
    clock = Clock()
    assert clock.date().endswith(b" GMT")
    assert clock.date() is clock.date() or len(clock.date()) == 29


def test_status_lines_keep_a_reason_of_their_own() -> None:
    assert status_line(200, b"OK") == b"HTTP/1.1 200 OK\r\n"
    assert status_line(200, b"") == b"HTTP/1.1 200 OK\r\n"
    assert status_line(200, b"Fine") == b"HTTP/1.1 200 Fine\r\n"
    assert status_line(299, b"") == b"HTTP/1.1 299 \r\n"


def test_an_informational_head_is_complete() -> None:
    hints = parse_response_head(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload")
    assert informational(hints) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


def test_the_websocket_key_is_answered_as_in_the_rfc() -> None:
    assert websocket_accept(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_cookie_is_found_among_others() -> None:
    lines = [b"Host: a", b"COOKIE: a=1; stick=one; b", b"Cookie: stick=two; c=x=y"]
    assert [cookie_value(lines, name) for name in (b"stick", b"c", b"b", b"ick")] == [b"one", b"x=y", None, None]


def test_a_program_gets_an_object() -> None:
    head, body = error_response(ExchangeError(errors.UNAVAILABLE, "127.0.0.1:1"), b"id-1", b"*/*")
    assert json.loads(body)["error"] == {
        "code": "unavailable",
        "message": "The application is not available",
        "trace_id": "id-1",
    }
    assert head.start.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Retry-After: 5" in head.lines
    assert b"X-Request-ID: id-1" in head.lines
    assert b'Proxy-Status: aragora-proxy; details="unavailable"' in head.lines


def test_a_browser_gets_a_page_with_nothing_to_execute() -> None:
    head, page = error_response(ExchangeError(errors.METHOD, "<script>"), b"<b>", b"text/html,*/*")
    assert b"Content-Type: text/html; charset=utf-8" in head.lines
    assert any(line.startswith(b"Allow: GET") for line in head.lines)
    assert b"405 Method Not Allowed" in page
    assert b"<script>" not in page
    assert b"<b>" not in page


def test_fields_of_the_error_itself_come_first() -> None:
    error = ExchangeError(errors.UNAVAILABLE, fields=(b"Retry-After: 90", b"RateLimit: x"))
    head, _ = error_response(error, b"id", None, lambda *_, browser: (b"page %d" % browser, b"text/plain"))
    assert [line for line in head.lines if line.startswith(b"R")] == [b"Retry-After: 90", b"RateLimit: x"]


def test_remembered_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Names({"host": Kind.HOST}, from_client=True)
    assert known[b"HoSt"] is Kind.HOST
    assert b"HoSt" in known
    assert known[b"X" * 100] is Kind.FORWARD
    assert b"X" * 100 not in known
    monkeypatch.setattr(names, "_REMEMBERED", 0)
    assert known[b"X-New"] is Kind.FORWARD
    assert b"X-New" not in known


def test_a_bare_line_feed_is_noticed_before_the_head_is_whole() -> None:
    assert bare_line_feed(b"GET / HTTP/1.1\nHost: a")
    assert not bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\r")


@pytest.mark.parametrize(
    ("method", "status", "bodiless"),
    [(b"GET", 200, False), (b"GET", 404, False), (b"HEAD", 200, True), (b"GET", 204, True), (b"POST", 205, True),
     (b"GET", 304, True)],
)  # fmt: skip
def test_some_responses_end_with_their_head(method: bytes, status: int, bodiless: bool) -> None:
    assert is_bodiless(method, status) is bodiless
