"""A body that is passed on as it arrives, and is wanted from its beginning once more."""

from collections import deque
from collections.abc import Callable

import pytest

from proxy.downstream.body import BodySource, BodyStream, Pace
from proxy.settings import Settings
from proxy.settings.values import Peer


class Source(BodySource):
    """Gives these pieces, then the end."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = deque(pieces)

    def take(self) -> bytes | None:
        return self.pieces.popleft() if self.pieces else b""

    @property
    def ready(self) -> bool:
        return True

    def wait(self, pace: Pace) -> None:
        raise AssertionError

    def watch(self, callback: Callable[[], object]) -> None:
        raise AssertionError

    def unwatch(self) -> None: ...

    def proceed(self) -> None: ...


def stream(upstream: str, *pieces: bytes) -> BodyStream:
    return BodyStream(Source(*pieces), Settings(upstream=(Peer.parse(upstream),)), expects_continue=False)


def taken(body: BodyStream) -> bytes:
    whole = b""
    while data := body.take():
        assert not body.done
        whole += data
    assert body.done
    return whole


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_was_taken_is_taken_again(count: int) -> None:
    body = stream("h2c://127.0.0.1:1", b"one", b"two")
    for _ in range(count):
        body.take()
    assert body.rewind()
    assert body.ready
    assert taken(body) == b"onetwo"
    assert not body.rewind()


@pytest.mark.parametrize(("upstream", "size"), [("h2c://127.0.0.1:1", 65_537), ("127.0.0.1:1", 1)])
def test_a_body_that_is_not_kept_is_not_taken_again(upstream: str, size: int) -> None:
    body = stream(upstream, bytes(size))
    assert len(taken(body)) == size
    assert not body.rewind()
