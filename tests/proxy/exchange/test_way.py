"""The way of a plain GET through the gateway's files: the one that docs/architecture.md draws."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import gevent
import pytest

import proxy
from proxy.net.stream import Hub
from tests.proxy.exchange.harness import Harness

PACKAGE = Path(proxy.__file__).parent
PAGE = PACKAGE.parent / "docs" / "architecture.md"
REQUEST = b"GET /1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


@contextmanager
def entered(hub: Hub) -> Iterator[list[str]]:
    """The files of the gateway whose functions the event loop calls meanwhile, in the order they are first entered."""
    files: list[str] = []

    def look(frame: FrameType, event: str, _argument: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(PACKAGE):
            name = str(file.relative_to(PACKAGE).with_suffix(""))
            if name not in files:
                files.append(name)

    # A profile belongs to the greenlet that sets it: here the one that runs the loop.
    hub.loop.run_callback(sys.setprofile, look)
    gevent.idle()
    try:
        yield files
    finally:
        hub.loop.run_callback(sys.setprofile, None)
        gevent.idle()


def drawn(half: str) -> list[str]:
    """The files of one half, out or back, as the page has them."""
    (line,) = re.findall(rf"^{half} +(.+)$", PAGE.read_text(), re.MULTILINE)
    return line.split(" → ")


@pytest.fixture
def harness() -> Iterator[Harness]:
    running = Harness(at_once=True)
    yield running
    running.close()


@pytest.mark.pure("traces Python's frames")
def test_a_plain_get_enters_the_files_that_the_page_draws(harness: Harness) -> None:
    client = harness.connect()

    def send(sock: Callable[[bytes], object], data: bytes) -> list[str]:
        with entered(harness.hub) as files:
            sock(data)
            harness.settle()
        return [name for name in files if not name.startswith(("wire/", "net/"))]

    for _ in range(2):  # the first opens the connection to the upstream; then the head is remembered
        send(client.sock.sendall, REQUEST)
        send(harness.upstreams[0].sock.sendall, RESPONSE)
    assert send(client.sock.sendall, REQUEST) == drawn("out")
    assert send(harness.upstreams[0].sock.sendall, RESPONSE) == drawn("back")
