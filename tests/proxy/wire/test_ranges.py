"""Byte ranges of requests: which parts they make, and how many at most."""

import pytest

from proxy.wire.ranges import content_range, part_heads, parts_of


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (b"bytes=0-1,500-501", [slice(0, 2), slice(500, 502)]),
        (b"bytes=500-501, 0-1", [slice(500, 502), slice(0, 2)]),
        (b"BYTES = 0-1 ,, -2", [slice(0, 2), slice(998, 1000)]),
        (b"bytes=0-9,5-14", [slice(0, 15)]),
        (b"bytes=500-509,0-9,505-600", [slice(0, 10), slice(500, 601)]),
        (b"bytes=0-9,90-99", [slice(0, 100)]),
        (b"bytes=0-9,91-99", [slice(0, 10), slice(91, 100)]),
        (b"bytes=0-9,0-9,0-9", [slice(0, 10)]),
        (b"bytes=0-,-1", [slice(0, 1000)]),
        (b"bytes=0-9,2-3", [slice(0, 10)]),
        (b"bytes=0-1,5000-,-0", [slice(0, 2)]),
        (b"bytes=5000-,1000-,-0", []),
        (b"bytes=0-1,9-0", None),
        (b"bytes=0-1,x", None),
        (b"bytes=0-1;5-6", None),
        (b"lines=0-1", None),
        (b"bytes", None),
        (b"bytes=", None),
        (b"bytes=,", None),
    ],
)
def test_parts_that_ranges_ask_for(value: bytes, parts: list[slice] | None) -> None:
    assert parts_of(value, 1000) == parts


def test_too_many_ranges_get_the_whole() -> None:
    ranges = [b"%d-%d" % (place, place) for place in range(0, 33_000, 1000)]
    found = parts_of(b"bytes=" + b",".join(ranges[:32]), 1 << 20)
    assert found is not None
    assert len(found) == 32
    assert parts_of(b"bytes=" + b",".join(ranges), 1 << 20) is None
    assert parts_of(b"bytes=" + b",".join([b"0-"] * 33), 1 << 20) is None


def test_parts_of_an_empty_body() -> None:
    assert parts_of(b"bytes=0-1,-5", 0) is None
    assert parts_of(b"bytes=0-1,-0", 0) == []


def test_heads_of_parts() -> None:
    parts = [slice(0, 2), slice(500, 502)]
    heads, end = part_heads(parts, b"text/plain", 1000, b"b")
    assert heads[1] == b"\r\n--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 500-501/1000\r\n\r\n"
    assert (len(heads), end) == (2, b"\r\n--b--\r\n")
    assert content_range(parts[0], 1000) == b"bytes 0-1/1000"
