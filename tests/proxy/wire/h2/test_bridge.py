"""Requests of HTTP/1 become field sections, responses of field sections become HTTP/1."""

import pytest

from proxy.wire.body import ChunkedDecoder, SizedDecoder
from proxy.wire.h2.bridge import MalformedResponse, RequestParts, ResponseText
from proxy.wire.h2.tables import Section

TE = (b"te", b"trailers")


def of(*lines: bytes) -> RequestParts:
    return RequestParts(b"\r\n".join(lines), b"https")


def test_a_request_becomes_a_section() -> None:
    parts = of(b"GET /a?b HTTP/1.1", b"Host: x.test", b"X-A: b", b"Connection: close", b"Te: gzip")
    pseudo = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"x.test"), (b":path", b"/a?b"))
    assert parts.section == (*pseudo, (b"x-a", b"b"), TE)
    assert (parts.body, parts.head_only, parts.switch) == (None, False, b"")
    assert of(b"HEAD / HTTP/1.1").head_only


def test_an_upgrade_becomes_an_extended_connect() -> None:
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    parts = of(b"GET /a HTTP/1.1", b"Host: x.test", b"Connection: Upgrade", b"Upgrade: websocket", key, b"X-A: b")
    pseudo = ((b":method", b"CONNECT"), (b":scheme", b"https"), (b":authority", b"x.test"), (b":path", b"/a"))
    assert parts.section == (*pseudo, (b":protocol", b"websocket"), (b"x-a", b"b"))
    assert parts.connects
    assert parts.switch.endswith(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
    assert of(b"GET / HTTP/1.1", b"Upgrade: tcp").switch.endswith(b"\r\nUpgrade: tcp\r\n")
    assert not of(b"POST / HTTP/1.1", b"Upgrade: tcp").connects
    assert not of(b"GET / HTTP/1.1", b"Upgrade: tcp", b"Content-Length: 2").connects


def test_a_switched_stream_passes_bytes_as_they_are() -> None:
    text = ResponseText(head_only=False, switch=b"HTTP/1.1 101 \r\n")
    assert text.section(head(103), ended=False) == b"HTTP/1.1 103 \r\n\r\n"
    assert not text.switched
    said = ((b"content-length", b"7"), (b"x-a", b"b"), (b"sec-websocket-accept", b"c"))
    assert text.section(head(204, *said), ended=False) == b"HTTP/1.1 101 \r\nx-a: b\r\n\r\n"
    assert (text.switched, text.declined) == (True, False)
    assert text.data(b"\x82\x00", ended=False) + text.data(b"", ended=True) == b"\x82\x00"
    with pytest.raises(MalformedResponse):
        text.section(((b"x-a", b"b"),), ended=True)
    declined = ResponseText(head_only=False, switch=b"HTTP/1.1 101 \r\n")
    assert declined.section(head(302), ended=True).startswith(b"HTTP/1.1 302 ")
    assert (declined.switched, declined.declined) == (False, True)


def test_the_framing_of_a_request_finds_the_end_of_its_body() -> None:
    sized = of(b"POST / HTTP/1.1", b"Content-Length: 4")
    assert isinstance(sized.body, SizedDecoder)
    assert (b"content-length", b"4") in sized.section
    assert of(b"POST / HTTP/1.1", b"Content-Length: 0").body is None
    chunked = of(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked")
    assert isinstance(chunked.body, ChunkedDecoder)
    assert all(name != b"transfer-encoding" for name, _ in chunked.section)


def head(status: int, *fields: tuple[bytes, bytes]) -> Section:
    return ((b":status", b"%d" % status), *fields)


def test_a_body_of_unknown_length_is_chunked_and_has_trailers() -> None:
    text = ResponseText(head_only=False)
    assert text.section(head(103, (b"link", b"a")), ended=False) == b"HTTP/1.1 103 \r\nlink: a\r\n\r\n"
    assert text.section(head(200), ended=False) == b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n"
    assert text.data(b"body", ended=False) == b"4\r\nbody\r\n"
    assert text.data(b"", ended=False) == b""
    assert text.section(((b"grpc-status", b"0"),), ended=True) == b"0\r\ngrpc-status: 0\r\n\r\n"
    text = ResponseText(head_only=False)
    text.section(head(200), ended=False)
    assert text.data(b"x", ended=True) == b"1\r\nx\r\n0\r\n\r\n"


def test_a_body_of_known_length_goes_as_it_is() -> None:
    text = ResponseText(head_only=False)
    assert text.section(head(200, (b"content-length", b"4")), ended=False) == (
        b"HTTP/1.1 200 \r\ncontent-length: 4\r\n\r\n"
    )
    assert text.data(b"bo", ended=False) + text.data(b"dy", ended=False) == b"body"
    assert text.section(((b"x-a", b"b"),), ended=True) == b""


def test_responses_without_body_are_framed_as_such() -> None:
    assert ResponseText(head_only=False).section(head(200), ended=True).endswith(b"content-length: 0\r\n\r\n")
    for status in (204, 304):
        text = ResponseText(head_only=False)
        assert text.section(head(status), ended=False) == b"HTTP/1.1 %d \r\n\r\n" % status
        assert text.data(b"", ended=True) == b""
    text = ResponseText(head_only=True)
    assert b"content-length: 9" in text.section(head(200, (b"content-length", b"9")), ended=True)


@pytest.mark.parametrize(
    ("section", "ended"),
    [
        ((), False),
        (((b"x", b"y"),), False),
        (((b":status", b"2x0"),), False),
        (((b":status", b"20"),), False),
        (head(101), False),
        (head(100), True),
        (head(200, (b"content-length", b"1"), (b"content-length", b"1")), False),
        (head(200, (b"content-length", b"-1")), False),
        (head(200, (b"content-length", b"1")), True),
        (head(200, (b"X-A", b"1")), False),
        (head(200, (b"x a", b"1")), False),
        (head(200, (b":path", b"1")), False),
        (head(200, (b"transfer-encoding", b"chunked")), False),
        (head(200, (b"x-a", b"1\r\nset-cookie: a=b")), False),
        (head(200, (b"x-a", b" 1")), False),
    ],
)
def test_heads_that_are_malformed_go_nowhere(section: Section, ended: bool) -> None:
    with pytest.raises(MalformedResponse):
        ResponseText(head_only=False).section(section, ended=ended)


def test_bodies_and_trailers_that_are_malformed_go_nowhere() -> None:
    with pytest.raises(MalformedResponse, match="before the head"):
        ResponseText(head_only=False).data(b"x", ended=False)
    for body, ended in ((b"12345", False), (b"123", True)):
        text = ResponseText(head_only=False)
        text.section(head(200, (b"content-length", b"4")), ended=False)
        with pytest.raises(MalformedResponse, match="announces"):
            text.data(body, ended=ended)
    text = ResponseText(head_only=False)
    text.section(head(200, (b"content-length", b"4")), ended=False)
    with pytest.raises(MalformedResponse, match="announces"):
        text.section((), ended=True)
    with pytest.raises(MalformedResponse, match="second field section"):
        text.section((), ended=False)
    text = ResponseText(head_only=False)
    for _ in range(16):
        text.section(head(103), ended=False)
    with pytest.raises(MalformedResponse, match="informational"):
        text.section(head(103), ended=False)
