"""Which coding and which form of an answer a client gets."""

import pytest

from proxy.wire.negotiation import choose_coding, prefers_page

OFFERED = (b"zstd", b"br", b"gzip")


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, b"identity"),
        (b"", b"identity"),
        (b"gzip", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"GZIP;Q=0.5, br;q=0.9", b"br"),
        (b"x-gzip", b"gzip"),
        (b"gzip;q=1.0, br;q=0.999", b"gzip"),
        (b"*", b"zstd"),
        (b"zstd;q=0, *;q=0.4", b"br"),
        (b"gzip;q=0.5, identity", b"identity"),
        (b"gzip, identity", b"gzip"),
        (b"gzip;q=0", b"identity"),
        (b"gzip;q=2, br;q=x", b"identity"),
        (b"identity;q=0, *;q=0", b"identity"),
        (b"deflate", b"identity"),
        (b" , gzip ; q=0.1 ,", b"gzip"),
        (b"gzip;q=0.001", b"gzip"),
        (b"gzip;level=1;q=0.5, br;q=0.4", b"gzip"),
    ],
)
def test_weights_choose_the_coding(accepted: bytes | None, chosen: bytes) -> None:
    assert choose_coding(accepted, OFFERED) == chosen


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (None, False),
        (b"*/*", False),
        (b"application/json", False),
        (b"text/html,application/xhtml+xml,*/*;q=0.8", True),
        (b"application/json, text/html;q=0.5", False),
        (b"text/html;q=0", False),
        (b"TEXT/HTML", True),
    ],
)
def test_browsers_get_pages_and_programs_get_objects(accept: bytes | None, page: bool) -> None:
    assert prefers_page(accept) is page
