"""What the log is told of requests that are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.outline import MOST, outline


@pytest.mark.parametrize(
    ("data", "method", "target", "minor"),
    [
        (b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", b"GET", b"/a/../b", 1),
        (b"\r\nGET /a HTTP/1.0\r\n\r\n", b"GET", b"/a", 0),
        (b"GET /a b HTTP/1.1\r\n\r\n", b"GET", b"/a b", 1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI", b"*", 2),
        (b"get /a HTTP/1.1\r\n\r\n", b"get", b"/a", 1),
        (b"GET /a HTTP/7.7\r\n\r\n", b"GET", b"/a HTTP/7.7", 1),
        (b"GET /a\r\n\r\n", b"GET", b"/a", 1),
        (b"GET /a HTTP/1.1\nHost: a\n\n", b"GET", b"/a", 1),
        (b"GET /unfini", b"GET", b"/unfini", 1),
        (b"GET ", b"GET", b"-", 1),
        (b"GET", b"-", b"GET", 1),
        (b"", b"-", b"-", 1),
        (b"\r\n", b"-", b"-", 1),
        (b"\x16\x03\x01\x02\x00 \x01", b"-", b"\x16\x03\x01\x02\x00 \x01", 1),
        (b"G" * 21 + b" /", b"-", b"G" * 21 + b" /", 1),
        (b"GET /" + b"a" * 5000, b"GET", b"/" + b"a" * (MOST - 1) + b"...", 1),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n", b"GET", b"/" + b"a" * (MOST - 1) + b"...", 1),
    ],
)
def test_the_first_line_is_told_as_far_as_it_was_read(data: bytes, method: bytes, target: bytes, minor: int) -> None:
    assert outline(data)[:3] == (method, target, minor)


def test_the_client_program_is_told_too() -> None:
    fields = outline(
        b"GET /%00 HTTP/1.1\r\nHost: a\r\nuser-agent: curl/8\r\nX: \x00\nReferer:http://a/\r\nAccept: text/html\r\n\r\n"
        b"Referer: a body's\r\n"
    ).fields
    assert (fields.user_agent, fields.referer, fields.accept) == (b"curl/8", b"http://a/", b"text/html")
    assert outline(b"GET / HTTP/1.1\r\nUser-Agent: " + b"a" * 9000).fields.user_agent == b"a" * MOST + b"..."


@given(
    st.binary(max_size=200) | st.lists(st.sampled_from([b" ", b"\r\n", b"GET", b"/", b"HTTP/1.1", b":"])).map(b"".join)
)
def test_any_bytes_have_an_outline_of_bounded_size(data: bytes) -> None:
    method, target, minor, fields = outline(data * 20)
    assert method
    assert target
    assert minor in (0, 1, 2)
    assert max(map(len, (method, target, fields.user_agent or b"", fields.referer or b""))) <= MOST + 3
