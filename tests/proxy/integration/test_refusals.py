"""A refused request is in the log with what was read of it."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.scripted import ScriptedUpstream
from tests.waiting import until

AGENT = b"Host: a\r\nUser-Agent: uploader/1.0\r\nReferer: http://a/list\r\n"


@pytest.mark.parametrize(
    ("sent", "reason", "method", "target"),
    [
        (b"GET /bucket/a/../b HTTP/1.1\r\n" + AGENT + b"\r\n", "target_path", "GET", "/bucket/a/../b"),
        (b"GET /?q=" + b"1" * 9000 + b" HTTP/1.1\r\n" + AGENT + b"\r\n", "target_too_long", "GET", "/?q=" + "1" * 1020),
        (b"PUT /big HTTP/1.1\r\n" + AGENT + b"X: " + b"1" * 9000 + b"\r\n\r\n", "head_too_large", "PUT", "/big"),
        (b"PUT /many HTTP/1.1\r\n" + AGENT + b"X: 1\r\n" * 200 + b"\r\n", "head_too_large", "PUT", "/many"),
        (b"GET /v HTTP/3.0\r\n" + AGENT + b"\r\n", "version", "GET", "/v HTTP/3.0"),
        (b"GET /lf HTTP/1.1\r\nHost: a\nX: 1\r\n" + AGENT + b"\r\n", "line_ending", "GET", "/lf"),
        (b"TRACE /t HTTP/1.1\r\n" + AGENT + b"\r\n", "method", "TRACE", "/t"),
        (b"GET /h HTTP/1.1\r\nHost: b\r\n" + AGENT + b"\r\n", "host", "GET", "/h"),
        (b"POST /l HTTP/1.1\r\n" + AGENT + b"Content-Length: +1\r\n\r\n", "content_length", "POST", "/l"),
        (b'GET /"\x1b[31m\xff HTTP/1.1\r\n' + AGENT + b"\r\n", "request_line", "GET", '/"\x1b[31m\\xff'),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_a_refused_request_is_logged_with_what_was_read_of_it(
    gateway: Gateway, sent: bytes, reason: str, method: str, target: str, bytewise: bool
) -> None:
    before = len(gateway.logged())
    with Client(gateway.address) as client:
        client.send(sent[:1] if bytewise else sent)
        if bytewise:
            client.send(sent[1:])
        assert client.answer().status >= 400
        client.at_end()
    entry = until(lambda: gateway.logged()[before:], "the request is in the log")[0]
    assert (entry["reason"], entry["method"]) == (reason, method)
    assert entry["target"].removesuffix("...") == target
    if reason != "target_too_long" or not bytewise:
        assert (entry["user_agent"], entry["referer"]) == ("uploader/1.0", "http://a/list")
    assert entry["received"] <= len(sent)


def test_no_refused_request_can_forge_a_line(
    scripted: ScriptedUpstream, start: Callable[..., Gateway], tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    gateway = start(scripted.address, "--access-log", str(log), "--log-format", "combined")
    for sent in (
        b'GET /" 200 1 "-\x00 HTTP/1.1\r\n\r\n',
        b"\x16\x03\x01" + random.Random(1).randbytes(200).replace(b"\n", b"") + b"\n\n",
    ):
        with Client(gateway.address) as client:
            client.send(sent)
            client.at_end()
    lines = until(lambda: log.read_text().splitlines()[1:] and log.read_text().splitlines(), "two lines are in the log")
    assert len(lines) == 2
    assert '"GET /\\x22 200 1 \\x22-\\x00 HTTP/1.1" 400 ' in lines[0]
    assert all(line.isascii() and line.isprintable() for line in lines)
