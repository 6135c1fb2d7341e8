"""What is not HTTP/1 is named: to the operator what an upstream speaks instead, to a client how HTTP/2 is had."""

import json
import re
from collections.abc import Callable

import pytest

from proxy.wire.h2.frames import PREFACE
from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.scripted import Manual, Script, ScriptedUpstream
from tests.waiting import until

GET = b"GET /a HTTP/1.1\r\nHost: case.example\r\n\r\n"
SETTINGS = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"


@pytest.mark.parametrize(
    ("spoken", "told"),
    [
        (SETTINGS, "the application speaks HTTP/2 only, as gRPC does"),
        (SETTINGS + b"\0\0\x04\x08\0\0\0\0\0\0\r\n\r\n", "the application speaks HTTP/2 only, as gRPC does"),
        (b"\0\0\0\x04\0\0\0\0\0", "the application speaks HTTP/2 only, as gRPC does"),
        (b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\1", "the application speaks HTTP/2 only, as gRPC does"),
        (b"\x15\x03\x01\0\x02\x02\x46", "the application speaks TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "its head begins with b'SSH-2.0-OpenSSH_"),
        (b"\0\x01\x02", "its head begins with b'\\x00\\x01\\x02'"),
        (b"220 mail.example ESMTP\r\n", "its head begins with b'220 mail.example"),
    ],
)
def test_what_an_upstream_speaks_instead_of_http_is_in_the_log(
    manual: Manual, start: Callable[..., Gateway], spoken: bytes, told: str
) -> None:
    gateway = start(manual.address)
    with Client(gateway.address) as client:
        client.send(GET)
        manual.accept().sendall(spoken)
        answer = client.answer()
    assert answer.status == 502
    assert json.loads(answer.body)["error"]["message"] == "The application sent an invalid HTTP response"
    until(lambda: told in gateway.log, told)


def test_a_probe_names_it_too(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, "--health-path", "/up", "--health-fall", "1", "--health-timeout", "20")
    manual.accept().sendall(SETTINGS)
    until(lambda: "is down: " in gateway.log, "the peer is down")
    assert re.search(r"is down: .*: the application speaks HTTP/2 only", gateway.log)


@pytest.mark.parametrize("sent", [PREFACE, PREFACE + SETTINGS, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"])
def test_a_client_of_http_2_is_told_how_it_is_had(gateway: Gateway, sent: bytes) -> None:
    with Client(gateway.address) as client:
        client.send(sent)
        answer = client.answer()
    assert answer.status == 505
    assert "h2c = true" in json.loads(answer.body)["error"]["message"]
    with Client(gateway.address) as client:
        client.send(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n")
        assert "h2c" not in client.answer().body.decode()


def test_application_asking_for_proxy_auth_is_logged_once(
    scripted: ScriptedUpstream, start: Callable[..., Gateway]
) -> None:
    gateway = start(scripted.address, admin=True)
    told = "which asks a proxy to send something else in its place"
    for name in (b"X-Accel-Redirect", b"x-accel-redirect", b"X-Sendfile"):
        scripted.expect(Script(b"HTTP/1.1 200 OK\r\n%s: /inside/secret.pdf\r\nContent-Length: 0\r\n\r\n" % name))
        with Client(gateway.address) as client:
            for _ in range(3):
                client.send(GET)
                answer = client.answer()
                assert (answer.status, answer.field(name.decode())) == (200, None)
    lines = until(lambda: gateway.log.count(told) >= 2 and gateway.log.splitlines(), "both fields are in the log")
    named = [line for line in lines if told in line]
    assert len(named) == 2
    assert "route default: the application responds with X-Accel-Redirect" in named[0]
    assert "X-Sendfile" in named[1]
    assert not any("secret" in line for line in lines)
    assert gateway.status()["dropped_fields"] == [
        {"message": "response", "field": "x-accel-redirect", "count": 6},
        {"message": "response", "field": "x-sendfile", "count": 3},
    ]
