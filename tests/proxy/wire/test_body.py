"""The chunked codec: whatever way the bytes are cut, the same body; whatever is wrong, refused at once."""

import itertools
import re

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import errors
from proxy.errors import ExchangeError, FramingError
from proxy.wire.body import (
    LAST_CHUNK,
    REQUEST_SIZE,
    RESPONSE_SIZE,
    ChunkedDecoder,
    ClosedDecoder,
    SizedDecoder,
    chunk,
)
from proxy.wire.request import check_trailers


def _decode(pieces: list[bytes], size: re.Pattern[bytes] = REQUEST_SIZE) -> tuple[bytes, ChunkedDecoder]:
    decoder = ChunkedDecoder(size)
    body = b""
    for piece in pieces:
        if decoder.done:
            decoder.rest += piece
        else:
            body += decoder.feed(piece)
    return body, decoder


def test_a_body_is_taken_out_of_its_chunks() -> None:
    body, decoder = _decode([b'3;a=b;c="d;e" ; f\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-B: 2\r\n\r\nGET /'])
    assert body == b"abc0123456789"
    assert decoder.done
    assert decoder.trailers == b"X-Sum: 1\r\nX-B: 2"
    assert decoder.rest == b"GET /"


@pytest.mark.parametrize(
    "wrong",
    [
        b"0x3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"3\nabc\r\n",
        b"\r\n",
        b"\n",
        b"g\r\n",
        b"1_0\r\n",
        b"11111111111111111\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"3\r\nabc\rX",
        b"3;\r\nabc\r\n",
        b"3;a=\rb\r\nabc\r\n",
        b"3;a\nb\r\nabc\r\n",
        b"3;a=b;" + b"c" * 300,
        b"0\r\nA: b\nB: c\r\n\r\n",
        b"0\r\n\nx",
        b"0\r\n" + b"A: " + b"b" * 9000,
    ],
)
def test_wrong_framing_is_refused_however_it_is_cut(wrong: bytes) -> None:
    for pieces in ([wrong], [wrong[i : i + 1] for i in range(len(wrong))]):
        with pytest.raises(FramingError):
            _decode(pieces)


def test_extensions_cannot_go_on_for_ever() -> None:
    with pytest.raises(FramingError, match="extensions"):
        _decode([b"1;" + b"a" * 200 + b"\r\nx\r\n"] * 100)


def test_a_chunk_is_written_as_it_is_read() -> None:
    written = b"".join(chunk(b"hello")) + LAST_CHUNK
    assert _decode([written])[0] == b"hello"


@settings(max_examples=300)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.lists(st.integers(0, 300), max_size=8),
    st.binary(max_size=9),
)
def test_cutting_changes_nothing(bodies: list[bytes], cuts: list[int], behind: bytes) -> None:
    message = b"".join(b"".join(chunk(body)) for body in bodies) + LAST_CHUNK + behind
    edges = sorted({0, len(message), *(cut % (len(message) + 1) for cut in cuts)})
    body, decoder = _decode([message[start:end] for start, end in itertools.pairwise(edges)])
    assert decoder.done
    assert body == b"".join(bodies)
    assert decoder.rest == behind


@settings(max_examples=400)
@given(
    st.lists(
        st.sampled_from([b"3", b"A", b"0", b";x=y", b"\r\n", b"\r", b"\n", b"abc", b" ", b"X: y", b"0123456789"]),
        max_size=10,
    )
)
def test_what_is_accepted_h11_reads_the_same_way_or_refuses(parts: list[bytes]) -> None:
    message = b"".join(parts)
    try:
        body, decoder = _decode([message])
        if decoder.done:
            check_trailers(decoder.trailers)
    except (FramingError, ExchangeError):
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + message)
    theirs = b""
    ended = False
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                theirs += event.data
            elif isinstance(event, h11.EndOfMessage):
                ended = True
                break
            elif not isinstance(event, h11.Request):
                break
    except h11.RemoteProtocolError:
        return
    assert theirs == body
    assert ended == decoder.done


@pytest.mark.parametrize("section", [b":path: /", b"A", b"A: \x00", b"A : b", b"A: b\r\n c", b"A: b\nB: c", b": b"])
def test_malformed_request_trailer_section_is_refused(section: bytes) -> None:
    with pytest.raises(ExchangeError) as refusal:
        check_trailers(section)
    assert refusal.value.failure is errors.CHUNK


@pytest.mark.parametrize(
    "section", [b"", b"X-Sum: 1", b"Content-Length: 1\r\nHost: a\r\nTransfer-Encoding: chunked", b"A:"]
)
def test_what_trailers_of_a_request_say_matters_to_nobody(section: bytes) -> None:
    check_trailers(section)


PADDED = (b"5  \r\nhello\r\n0\t\r\n\r\n", b"0" * 40 + b"5\r\nhello\r\n" + b"0" * 200 + b"\r\n\r\n",
          b'5 ;=";\xff\r\nhello\r\n0;\r\n\r\n')  # fmt: skip


@pytest.mark.parametrize("message", PADDED)
def test_an_application_may_pad_its_sizes(message: bytes) -> None:
    for pieces in ([message], [message[i : i + 1] for i in range(len(message))]):
        body, decoder = _decode(pieces, RESPONSE_SIZE)
        assert (body, decoder.done) == (b"hello", True)
    with pytest.raises(FramingError):
        _decode([message])


@pytest.mark.parametrize(
    "wrong",
    [
        b" 5\r\n",
        b"5 5\r\n",
        b"5\n",
        b"5;\0\r\n",
        b"0x5\r\n",
        b"\r\n",
        b" \r\n",
        b"1" * 17 + b"\r\n",
        b"0" * 300,
        b"5 \r ",
    ],
)
def test_but_not_write_what_is_no_size(wrong: bytes) -> None:
    for pieces in ([wrong], [wrong[i : i + 1] for i in range(len(wrong))]):
        with pytest.raises(FramingError):
            _decode([*pieces, b"hello\r\n"], RESPONSE_SIZE)


@pytest.mark.parametrize("size", [REQUEST_SIZE, RESPONSE_SIZE])
def test_a_long_body_may_have_an_extension_on_each_chunk(size: re.Pattern[bytes]) -> None:
    assert _decode([b"1;signature=12\r\nx\r\n" * 5000], size)[0] == b"x" * 5000


def test_a_sized_body_ends_where_its_length_says() -> None:
    decoder = SizedDecoder(5)
    assert (decoder.feed(b"hel"), decoder.done, decoder.rest) == (b"hel", False, b"")
    with pytest.raises(FramingError, match="2 bytes short"):
        decoder.close()
    assert (decoder.feed(b"lo, world"), decoder.done, decoder.rest) == (b"lo", True, b", world")


def test_a_body_that_the_connection_ends_is_whole_at_its_end() -> None:
    decoder = ClosedDecoder()
    assert (decoder.feed(b"hello"), decoder.done) == (b"hello", False)
    decoder.close()
    assert (decoder.done, decoder.rest) == (True, b"")


def test_a_chunked_body_is_not_whole_before_its_last_chunk() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"5\r\nhello\r\n")
    with pytest.raises(FramingError, match="in a chunked body"):
        decoder.close()


def test_what_came_before_wrong_framing_is_not_lost() -> None:
    decoder = ChunkedDecoder()
    with pytest.raises(FramingError):
        decoder.feed(b"5\r\nhello\r\nzz\r\n")
    assert decoder.salvaged == b"hello"
