"""Each setting that changes responses does so by both drivers and for both protocols of clients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.filters.rewrite import RESPONSE_CHANGES
from tests.proxy.exchange.exchanges import OK, Http1, Http2, Http2Client, respond, warm

PAGE = "<p>a page of ours</p>"
LONG = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4000\r\n\r\n" + b"a" * 4000
BAD = b"no HTTP at all\r\n\r\n"

Example = tuple[dict[str, Any], bytes, bytes]
"""Settings, an upstream's reply, and what is then in the client's response, in lower case."""

MOVED = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
HEADS: dict[str, Example] = {
    "strip_prefix": ({"strip_prefix": "on", "mounted": "/a"}, MOVED, b"location: /a/x"),
    "sticky_cookie": ({"sticky_cookie": "at"}, OK, b"set-cookie: at="),
    "cors_origins": ({"cors_origins": "https://b.example"}, OK, b"access-control-allow-origin: https://b.example"),
    "set_response_fields": ({"set_response_fields": {"X-Ours": "yes"}}, OK, b"x-ours: yes"),
    "hsts": ({"hsts": "60"}, OK, b"strict-transport-security: max-age=60"),
}
OTHERS: dict[str, Example] = {
    "compress": ({"compress": "on"}, LONG, b"content-encoding: gzip"),
    "error_pages": ({"error_pages": "."}, BAD, PAGE.encode()),
    "rate": ({"rate": "10/s"}, OK, b"ratelimit-policy: "),
}


def test_every_change_of_the_table_has_an_example() -> None:
    assert HEADS.keys() == RESPONSE_CHANGES.keys()


@pytest.mark.parametrize("protocol", [Http1, Http2], ids=["http1", "http2"])
@pytest.mark.parametrize("at_once", [True, False], ids=["callbacks", "greenlet"])
@pytest.mark.parametrize("name", [*HEADS, *OTHERS])
def test_setting_changes_the_response(
    name: str, at_once: bool, protocol: Callable[..., object], tmp_path: Path
) -> None:
    flags, reply, expected = (HEADS | OTHERS)[name]
    if "error_pages" in flags:
        (tmp_path / "5xx.html").write_text(PAGE)
        flags = {"error_pages": str(tmp_path)}
    with warm(at_once=at_once, protocol=protocol, scheme=b"https", **flags) as harness:
        client = harness.connect()
        if protocol is Http1:
            client.sock.sendall(
                b"GET /a/b HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\n"
                b"Origin: https://b.example\r\n\r\n"
            )
            harness.settle()
            respond(harness, reply)
            found = client.received
        else:
            asked = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/a/b")]
            told = [("accept", "text/html"), ("accept-encoding", "gzip"), ("origin", "https://b.example")]
            reader = Http2Client(client)
            stream = reader.send([*asked, *told])
            harness.settle()
            respond(harness, reply)
            found = b"\r\n".join(piece for piece in reader.response(stream) if isinstance(piece, bytes))
    assert expected in found.lower(), found
