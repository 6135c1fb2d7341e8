"""What is shared between exchanges is never changed once it is made: the harness would fail at it."""

from collections.abc import Iterator

import pytest

from proxy.wire import request, response
from proxy.wire.request_line import HeadLimits
from tests.proxy.exchange.freezing import Freezing

pytestmark = pytest.mark.pure("the harness freezes Python's classes")


@pytest.fixture(autouse=True)
def _freezing() -> Iterator[None]:
    freezing = Freezing()
    yield
    freezing.take_away()


def test_fields_of_a_request_cannot_be_changed() -> None:
    fields = request.parse_request_fields(b"Host: a", HeadLimits())
    with pytest.raises(AttributeError, match="finished"):
        fields.chunked = True


def test_head_of_a_response_cannot_be_changed() -> None:
    heads = [response.parse_response_head(b"HTTP/1.1 200 OK"), response.local_head(200, [], 0)]
    for head in [*heads, heads[0].with_lines([b"A: b"], sized=True)]:
        with pytest.raises(AttributeError, match="finished"):
            head.content_length = 1
