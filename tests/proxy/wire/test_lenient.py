"""Response heads of old servers: made regular where one reading is possible, else left for the strict reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.wire.lenient import split_head
from proxy.wire.response import parse_response_head


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (b"HTTP/1.1 200 OK\nA: b\n\nrest", b"HTTP/1.1 200 OK\r\nA: b"),
        (b"HTTP/1.1 200 OK\r\nA: b\n\r\nrest", b"HTTP/1.1 200 OK\r\nA: b"),
        (b"HTTP/1.1 200 OK\n\nrest", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\t d\r\n\r\nrest", b"HTTP/1.1 200 OK\r\nA: b c d"),
        (b"HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length:5\n\nrest", b"HTTP/1.1 200 OK\r\nContent-Length: 5"),
        (
            b"HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\nrest",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close",
        ),
        (
            b"HTTP/1.0 200 OK\nTransfer-Encoding: chunked\nContent-Length: 5\n\nrest",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\nConnection: close",
        ),
    ],
)
def test_a_head_is_made_regular(data: bytes, head: bytes) -> None:
    assert split_head(data) == (head, b"rest")


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 OK\r\n\r", b"HTTP/1.1 200 OK\nA: b\n"]
)
def test_a_head_without_an_end_is_waited_for(data: bytes) -> None:
    assert split_head(data) is None


@pytest.mark.parametrize(
    "line", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection : close", b"no name"]
)
def test_what_frames_is_not_folded(line: bytes) -> None:
    with pytest.raises(ExchangeError):
        split_head(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n 6\r\n\r\n")


def test_nothing_is_folded_onto_a_status_line() -> None:
    with pytest.raises(ExchangeError):
        split_head(b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n")


@pytest.mark.parametrize("values", [b"5, 6", b"5\r\nContent-Length: 05", b"5,", b"\r\nContent-Length: 5"])
def test_lengths_that_differ_are_left_as_they_are(values: bytes) -> None:
    found = split_head(b"HTTP/1.1 200 OK\r\nContent-Length: " + values + b"\r\n\r\n")
    assert found is not None
    assert parse_response_head(found[0]).fault


LINES = st.sampled_from(
    [b"A: b", b"B : c", b" folded", b"Content-Length: 5", b"content-length:5,5", b"Transfer-Encoding: chunked",
     b"Date: x", b"Connection: keep-alive", b"Set-Cookie: a=b", b"C: \x00", b""]
)  # fmt: skip


@given(
    st.sampled_from([b"HTTP/1.0 200 OK", b"HTTP/1.1 204 X"]),
    st.lists(LINES, max_size=5),
    st.lists(st.booleans(), max_size=7),
)
def test_what_a_strict_reader_takes_means_the_same(first: bytes, lines: list[bytes], returns: list[bool]) -> None:
    """However the lines end; only chunks of HTTP/1.0 and equal lengths are taken beside."""
    regular = b"\r\n".join([first, *[line for line in lines if line]])
    ends = [b"\r\n" if crlf else b"\n" for crlf in [*returns, *[True] * 8]]
    data = b"".join(line + end for line, end in zip([*regular.split(b"\r\n"), b""], ends, strict=False))
    try:
        strict = parse_response_head(regular)
    except ExchangeError:
        return
    found = split_head(data + b"rest")
    assert found is not None
    assert found[1] == b"rest"
    ours = parse_response_head(found[0])
    assert (ours.status, ours.lines) == (strict.status, strict.lines)
    if not strict.fault:
        assert (ours.content_length, ours.chunked, ours.close) == (strict.content_length, strict.chunked, strict.close)
