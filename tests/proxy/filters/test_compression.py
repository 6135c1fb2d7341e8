"""Compression: which answers, in which coding, and that each piece can be read as soon as it came."""

import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from proxy.exchange.intake import Recoding
from proxy.exchange.recoding import encode
from proxy.filters.compression import Asked, Compression, restored
from proxy.net.spool import Spool
from proxy.wire.coding import CODINGS, encoder
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead, parse_response_head

TYPES = ["text/*", "application/json"]
ACCEPTS = b"Accept-Encoding: gzip, br, zstd"


def response(*lines: bytes, status: int = 200) -> ResponseHead:
    head = [b"HTTP/1.1 %d X" % status, *lines]
    if not any(line.startswith(b"Content-Type:") for line in lines):
        head.append(b"Content-Type: text/html")
    return parse_response_head(b"\r\n".join(head))


def chosen(answer: ResponseHead, *request: bytes) -> bytes:
    return Compression(TYPES).choose(list(request or (ACCEPTS,)), answer)[1]


def test_all_codings_are_there() -> None:
    assert CODINGS == (b"zstd", b"br", b"gzip")


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 1024",),
        (b"Transfer-Encoding: chunked",),
        (),
        (b"Content-Type: application/json; charset=utf-8",),
        (b"Content-Type: text/event-stream",),
        (b"Cache-Control: max-age=1",),
    ],
)
def test_answers_worth_it_are_compressed(lines: tuple[bytes, ...]) -> None:
    assert chosen(response(*lines)) == b"zstd"


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 1023",),
        (b"Content-Type: image/png",),
        (b"Content-Type: textual/html",),
        (b"Content-Encoding: gzip",),
        (b"Content-Range: bytes 0-1/5000",),
        (b"Cache-Control: public, No-Transform",),
        (b"Content-Digest: sha-256=:x:",),
        (b"Set-Cookie: session=1",),
    ],
)
def test_answers_that_must_stay_as_they_are(lines: tuple[bytes, ...]) -> None:
    assert chosen(response(*lines)) == b"identity"


@pytest.mark.parametrize(
    ("lines", "varies"),
    [
        ((b"Content-Range: bytes 0-9/12000", b"Content-Length: 10"), True),
        ((b"Content-Type: multipart/byteranges; boundary=x", b"Content-Length: 300"), True),
        ((b"Content-Type: image/png", b"Content-Range: bytes 0-9/12000"), False),
        ((b"Content-Encoding: gzip", b"Content-Range: bytes 0-9/12000"), False),
        ((b"Cache-Control: no-transform", b"Content-Range: bytes 0-9/12000"), False),
    ],
)
def test_a_part_has_the_vary_of_the_whole(lines: tuple[bytes, ...], varies: bool) -> None:
    part = response(*lines, b'ETag: "a"', status=206)
    found, coding = Compression(TYPES).choose([ACCEPTS], part)
    assert coding == IDENTITY
    assert found == [*part.lines, *([b"Vary: Accept-Encoding"] if varies else [])]


@pytest.mark.parametrize("status", [101, 204, 205, 206])
def test_statuses_that_must_stay_as_they_are(status: int) -> None:
    assert chosen(response(status=status)) == b"identity"


def test_304_repeats_the_fields_of_the_coded_response() -> None:
    lines, coding = Compression(TYPES).choose([ACCEPTS], response(b'ETag: "v1"', status=304))
    assert coding == b"identity"
    assert b'ETag: W/"v1"' in lines, "a strong tag would make the coded and the plain answer the same to a cache"
    assert b"Vary: Accept-Encoding" in lines


@pytest.mark.parametrize(
    ("request_lines", "coding"),
    [
        ((b"Accept: */*",), b"identity"),
        ((b"Accept-Encoding: gzip",), b"gzip"),
        ((ACCEPTS, b"Cookie: a=1"), b"zstd"),
        ((ACCEPTS, b"Cookie: a=1", b"Sec-Fetch-Site: same-origin"), b"zstd"),
        ((ACCEPTS, b"Cookie: a=1", b"Sec-Fetch-Site: none"), b"zstd"),
        ((ACCEPTS, b"Cookie: a=1", b"Sec-Fetch-Site: cross-site"), b"identity"),
        ((ACCEPTS, b"Authorization: Basic x", b"Sec-Fetch-Site: same-site"), b"identity"),
        ((ACCEPTS, b"Sec-Fetch-Site: cross-site"), b"zstd"),
    ],
)
def test_what_the_client_accepts_and_who_asks_decide(request_lines: tuple[bytes, ...], coding: bytes) -> None:
    assert chosen(response(), *request_lines) == coding


def test_the_head_tells_of_the_coding() -> None:
    answer = response(b'ETag: "a"', b"Accept-Ranges: bytes", b"Vary: Origin")
    lines, _ = Compression(TYPES).choose([ACCEPTS], answer)
    assert lines == [b'ETag: W/"a"', b"Vary: Origin", b"Content-Type: text/html", b"Vary: Accept-Encoding",
                     b"Content-Encoding: zstd"]  # fmt: skip
    plain, _ = Compression(TYPES).choose([], answer)
    assert plain == [*answer.lines, b"Vary: Accept-Encoding"]
    assert Compression(TYPES).choose([ACCEPTS], response(b'ETag: W/"a"'))[0][0] == b'ETag: W/"a"'


def test_tags_come_back_as_the_application_gave_them() -> None:
    assert restored(b'If-Match: W/"a", "b",W/"c W/d"') == b'If-Match: "a", "b","c W/d"'
    assert restored(b'If-None-Match: W/"a"') == b'If-None-Match: W/"a"'


def _gzip() -> Callable[[bytes], bytes]:
    return zlib.decompressobj(31).decompress


def _brotli() -> Callable[[bytes], bytes]:
    process: Callable[[bytes], bytes] = brotli.Decompressor().process
    return process


def _zstd() -> Callable[[bytes], bytes]:
    return zstandard.ZstdDecompressor().decompressobj().decompress


DECODERS = {b"gzip": _gzip, b"br": _brotli, b"zstd": _zstd}


@pytest.mark.parametrize("coding", CODINGS)
def test_each_event_can_be_read_at_once(coding: bytes) -> None:
    recoding = Recoding(encoder(coding), flushes=True)
    decode = DECODERS[coding]()
    for number in range(3):
        event = b"data: %d\n\n" % number
        assert decode(recoding.feed(event)) == event
    assert recoding.feed(b"") == b""


@pytest.mark.parametrize("coding", CODINGS)
def test_what_came_of_a_body_that_breaks_off_can_be_read(coding: bytes) -> None:
    recoding = Recoding(encoder(coding), flushes=False)
    encoded = recoding.feed(b"the last words") + recoding.finish(whole=False)
    assert DECODERS[coding]()(encoded) == b"the last words"


@pytest.mark.parametrize("coding", CODINGS)
def test_a_large_body_comes_out_whole(coding: bytes) -> None:
    body = b"".join(b"%d and again;" % number for number in range(40_000))
    spool = Spool(1 << 20, None)
    encode([body[:300_000], body[300_000:]], coding, spool)
    assert DECODERS[coding]()(spool.in_memory()) == body
    assert spool.length < len(body) // 4
    spool.close()


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        ([], (None, False)),
        ([b"Host: a", b"ACCEPT-ENCODING: gzip", b"Accept: */*", b"accept-encoding:br"], (b"gzip, br", False)),
        ([b"sec-fetch-site: cross-site", b"X-Cookie: a"], (None, False)),
        ([b"SEC-FETCH-SITE: cross-site", b"COOKIE: a=1"], (None, True)),
        ([b"Sec-Fetch-Site: same-site", b"authorization: Basic x"], (None, True)),
        ([b"Sec-Fetch-Site: same-origin", b"Cookie: a=1"], (None, False)),
    ],
)
def test_what_decides_about_the_coding_is_read_of_any_request(lines: list[bytes], asked: Asked) -> None:
    assert Asked.of(lines) == asked
