"""Responses of authorities that nobody would expect."""

import gzip
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from proxy.acme.account import Authority, NotObtained, asking
from tests.serving import serving

BODIES = {"/small": b"{}", "/long": b" " * (2 << 20), "/bomb": gzip.compress(b" " * (64 << 20), 1)}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = BODIES[self.path]
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/bomb":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Answers)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("path", ["/long", "/bomb"])
def test_a_response_without_end_fills_no_memory(url: str, path: str) -> None:
    authority = Authority(url + path, None, "a@site.test", "test")
    with pytest.raises(NotObtained, match="more than 1048576 bytes"), asking(authority) as network:
        network.get(url + path)


def test_small_responses_are_read_whole(url: str) -> None:
    with asking(Authority(url, None, "a@site.test", "test")) as network:
        assert [network.get(url + "/small").json() for _ in range(2)] == [{}, {}]
