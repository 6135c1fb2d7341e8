"""Requests that come back to the gateway that sent them on (RFC 9110 section 7.6.3)."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ports import ports
from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import Answer, Client
from tests.proxy.integration.h2.raw import Raw
from tests.proxy.integration.scripted import ScriptedUpstream
from tests.waiting import until

BOUNDED = ("--max-connections", "50", "--read-timeout", "5")


def ask(gateway: Gateway, path: str = "/x", fields: str = "") -> Answer:
    with Client(gateway.address) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n".encode())
        return client.final()


def reason(answer: Answer) -> str:
    return str(json.loads(answer.body)["error"]["code"])


@pytest.fixture
def circle(start: Callable[..., Gateway]) -> tuple[Gateway, Gateway]:
    """Two gateways that name each other, the first of two workers."""
    (first,) = ports(1)
    second = start(f"127.0.0.1:{first}", *BOUNDED, "--h2c", "on")
    return start(f"127.0.0.1:{second.port}", *BOUNDED, "--bind", f"127.0.0.1:{first}", "--h2c", "on", workers=2), second


def test_a_circle_is_noticed_when_it_closes(circle: tuple[Gateway, Gateway]) -> None:
    for gateway in circle:
        for _ in range(4):  # whichever worker it comes back to
            answer = ask(gateway)
            assert (answer.status, reason(answer)) == (508, "loop")
            assert "an upstream leads back to this gateway" in answer.body.decode()


def test_it_is_over_http_2(circle: tuple[Gateway, Gateway]) -> None:
    for gateway in circle:
        with Raw(gateway.port) as client:
            client.send(client.headers(1))
            assert client.response(1)[0][":status"] == "508"


def test_it_asks_no_more_than_a_turn(start: Callable[..., Gateway]) -> None:
    (own,) = ports(1)
    second = start(f"127.0.0.1:{own}")
    first = start(f"127.0.0.1:{second.port}", *BOUNDED, "--bind", f"127.0.0.1:{own}")
    assert ask(first).status == 508
    until(lambda: [len(gateway.logged()) for gateway in (first, second)] == [2, 1], "three log lines")


def test_a_request_may_pass_by_two_routes(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    """As where a cache or a login stands between two routes of one gateway."""
    own, between = ports(2)
    file, other = tmp_path / "gateway.toml", tmp_path / "between.toml"
    file.write_text(
        f'[[route]]\npath = "/x"\nupstream = "127.0.0.1:{between}"\n'
        f'[[route]]\npath = "/y"\nupstream = "{scripted.address}"\n'
    )
    other.write_text(f'[[route]]\npath = "/x"\nstrip_prefix = true\nupstream = "127.0.0.1:{own}"\n')
    gateway = start("", "--config", str(file), "--bind", f"127.0.0.1:{own}", "--trusted-proxies", "127.0.0.1")
    start("", "--config", str(other), "--bind", f"127.0.0.1:{between}")
    scripted.expect()
    assert ask(gateway, "/x/y").status == 200
    lines = [line for line in scripted.received[0].data.split(b"\r\n") if line.startswith(b"Via: 1.1 aragora-")]
    assert len(set(lines)) == 3


def test_via_can_be_left_out(start: Callable[..., Gateway], scripted: ScriptedUpstream) -> None:
    gateway = start(scripted.address, "--via", "off")
    scripted.expect()
    assert ask(gateway, fields="Via: 1.1 other\r\n").status == 200
    assert b"\r\nVia: 1.1 other\r\n" in scripted.received[0].data
    assert b"aragora-" not in scripted.received[0].data
