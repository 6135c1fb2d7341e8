"""What others refuse: whatever two of httptools, gunicorn and lighttpd refuse, the case table refuses too."""

from collections.abc import Iterator

import httptools
import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.parser import RequestParser

from tests.proxy.integration import cases

CASES = cases.requests()
DROPPED = {"chunks/trailer-content-length", "chunks/trailer-transfer-encoding"}
"""Trailers that frame: others refuse them, the gateway drops them with all trailers (RFC 9112 section 7.1.2)."""


class Listener:
    """Counts complete messages for httptools."""

    def __init__(self) -> None:
        self.complete = 0

    def on_message_complete(self) -> None:
        self.complete += 1


def httptools_refuses(data: bytes) -> bool:
    """Whether llhttp, as httptools runs it, refuses the bytes or stops in the middle of a message."""
    listener = Listener()
    parser = httptools.HttpRequestParser(listener)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return False
    except httptools.HttpParserError:
        return True
    return listener.complete == 0


def gunicorn_refuses(data: bytes) -> bool:
    """Whether gunicorn's own parser refuses the head or the body."""
    config = Config()
    config.set("http_parser", "python")

    def pieces() -> Iterator[bytes]:
        yield data

    try:
        request = next(RequestParser(config, pieces(), ("127.0.0.1", 1)))
        request.body.read()
    except (ParseException, StopIteration, OSError):
        return True
    return False


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refuses_what_two_others_refuse(case: cases.RequestCase) -> None:
    if case.upstream is None:
        assert case.status >= 400
        return
    refusing = [
        name
        for name, refuses in (
            ("httptools", httptools_refuses(case.send)),
            ("gunicorn", gunicorn_refuses(case.send)),
            ("lighttpd", isinstance(case.lighttpd, int)),
        )
        if refuses
    ]
    assert (len(refusing) < 2) is (case.name not in DROPPED), f"{refusing} refuse it, the gateway does not"
