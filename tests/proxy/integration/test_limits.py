"""Limits that are switched off, and what a request over one that is not is told."""

import json
from collections.abc import Callable

import pytest

from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.scripted import ScriptedUpstream

LARGE = 300_000
HEAD = b"POST /a HTTP/1.1\r\nHost: case.example\r\n"


def _chunked(size: int) -> bytes:
    whole = b"10000\r\n" + bytes(65536) + b"\r\n"
    rest = size % 65536
    return whole * (size // 65536) + (b"%x\r\n" % rest + bytes(rest) + b"\r\n" if rest else b"") + b"0\r\n\r\n"


@pytest.mark.parametrize("off", ["0", "off"])
@pytest.mark.parametrize("buffering", ["on", "off"])
def test_without_a_limit_bodies_of_any_size_pass(
    scripted: ScriptedUpstream, start: Callable[..., Gateway], off: str, buffering: str
) -> None:
    gateway = start(scripted.address, "--max-body", off, "--request-buffering", buffering)
    scripted.expect()
    for framed in (
        b"Content-Length: %d\r\n\r\n" % LARGE + bytes(LARGE),
        b"Transfer-Encoding: chunked\r\n\r\n" + _chunked(LARGE),
        b"Content-Length: 1\r\n\r\nx",
        b"Content-Length: 0\r\n\r\n",
    ):
        with Client(gateway.address) as client:
            client.send(HEAD + framed)
            assert client.answer().status == 200


@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 11\r\n\r\n12345678901",
        b"Content-Length: 9999999999999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n",
    ],
)
def test_a_body_over_the_limit_is_told_which_setting_refuses_it(
    scripted: ScriptedUpstream, start: Callable[..., Gateway], buffering: str, framed: bytes
) -> None:
    gateway = start(scripted.address, "--max-body", "10", "--request-buffering", buffering)
    scripted.expect()
    with Client(gateway.address) as client:
        client.send(HEAD + framed)
        answer = client.answer()
        assert answer.status == 413
        assert json.loads(answer.body)["error"]["message"].endswith("over 10 bytes, the gateway's max_body")


@pytest.mark.parametrize(
    ("head", "status", "setting"),
    [
        (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "max_request_line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 200 + b"\r\n\r\n", 431, "max_field"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: 1\r\n" * 20 + b"\r\n", 431, "max_fields"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: aaaaaaaaaaaaaaaa\r\n" * 16 + b"\r\n", 431, "max_head"),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_a_head_over_a_limit_is_told_which_setting_refuses_it(
    strict: Gateway, head: bytes, status: int, setting: str, bytewise: bool
) -> None:
    with Client(strict.address) as client:
        client.send(head[:50] if bytewise else head)
        if bytewise:
            client.send(head[50:])
        answer = client.answer()
        assert answer.status == status
        assert setting in json.loads(answer.body)["error"]["message"]


@pytest.fixture
def strict(scripted: ScriptedUpstream, start: Callable[..., Gateway]) -> Gateway:
    return start(
        scripted.address, "--max-request-line", "100", "--max-field", "100", "--max-fields", "20", "--max-head", "300"
    )


def test_without_keep_alive_each_answer_ends_its_connection(
    scripted: ScriptedUpstream, start: Callable[..., Gateway]
) -> None:
    gateway = start(scripted.address, "--keepalive-timeout", "off", "--head-timeout", "30")
    scripted.expect()
    with Client(gateway.address) as waiting, Client(gateway.address) as client:
        client.send(b"GET /a HTTP/1.1\r\nHost: case.example\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.field("Connection")) == (200, "close")
        assert client.at_end()
        waiting.send(b"GET /a HTTP/1.1\r\nHost: case.example\r\n\r\n")  # a connection is not idle before it asked
        assert waiting.answer().status == 200
