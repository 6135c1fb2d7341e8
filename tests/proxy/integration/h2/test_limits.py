"""The same protection for HTTP/2 over TLS behind a load balancer: who is counted, and what streams are told."""

import ssl
from collections.abc import Iterator

import pytest
from hyperframe.frame import HeadersFrame, SettingsFrame

from proxy.wire.h2.frames import PREFACE
from proxy.wire.proxy_protocol import Endpoints, make_v2
from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway
from tests.proxy.integration.h2.raw import CONNECT, GET, Raw
from tests.proxy.integration.scripted import Script, ScriptedUpstream
from tests.proxy.tls_gateway import serve_tls
from tests.waiting import until

NAME = "127.0.0.1"


@pytest.fixture(scope="module")
def secure(
    authority: Authority, scripted: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with TLS behind a balancer that introduces clients: the test."""
    cert, key = authority.issue(NAME)
    running = serve_tls(
        tmp_path_factory.mktemp("secure"), scripted.address, "--tls-cert", str(cert), "--tls-key", str(key),
        "--proxy-protocol", "on", "--trusted-proxies", "127.0.0.1", "--rate", "1/h", "--burst", "3",
        "--max-client-connections", "2", "--max-client-websockets", "1", workers=2
    )  # fmt: skip
    yield running
    running.close()
    assert "Traceback" not in running.log, running.log


def introduced(secure: Gateway, trust: ssl.SSLContext, client: str) -> Raw:
    """A connection that a balancer makes for `client`."""
    raw = Raw(secure.port, greet=False)
    raw.send(make_v2(Endpoints(client, 4711, "198.51.100.1", 443)))
    raw.sock = trust.wrap_socket(raw.sock, server_hostname=NAME)
    raw.send(PREFACE, SettingsFrame(0))
    return raw


def ask(raw: Raw, stream: int, *more: tuple[str, str]) -> dict[str, str]:
    raw.send(raw.headers(stream, [*GET, *more]))
    return raw.response(stream)[0]


def test_streams_of_an_introduced_client_are_counted(
    secure: Gateway, trust: ssl.SSLContext, scripted: ScriptedUpstream
) -> None:
    scripted.expect()
    with introduced(secure, trust, "192.0.2.1") as raw:
        for stream, left in ((1, 2), (3, 1), (5, 0)):
            answer = ask(raw, stream, ("x-forwarded-for", "6.6.6.6"))
            assert answer[":status"] == "200"
            assert answer["ratelimit-policy"] == '"default";q=3;w=10800'
            assert answer["ratelimit"] == f'"default";r={left};t=3600'
        refused = ask(raw, 7)
        assert refused[":status"] == "429"
        assert int(refused["retry-after"]) > 3500
        assert refused["ratelimit"] == f'"default";r=0;t={refused["retry-after"]}'
    head = scripted.wait_for(3)[0].data
    assert b"\r\nX-Forwarded-For: 192.0.2.1\r\n" in head
    assert b"\r\nX-Forwarded-Proto: https\r\n" in head


def test_connections_of_an_introduced_client_are_counted(
    secure: Gateway, trust: ssl.SSLContext, scripted: ScriptedUpstream
) -> None:
    scripted.expect()

    def statuses(raw: Raw, *streams: int) -> list[str]:
        return [ask(raw, stream)[":status"] for stream in streams]

    with introduced(secure, trust, "192.0.2.2") as one, introduced(secure, trust, "192.0.2.2") as two:
        assert statuses(one, 1) == statuses(two, 1) == ["200"]
        with introduced(secure, trust, "192.0.2.2") as three, introduced(secure, trust, "192.0.2.3") as other:
            assert statuses(three, 1, 3) == ["429", "429"]
            assert statuses(other, 1) == ["200"]

    def again() -> bool:
        with introduced(secure, trust, "192.0.2.2") as raw:
            return statuses(raw, 1) != ["429"] or "ratelimit" in ask(raw, 3)

    until(again, "closed connections make room")


def test_websockets_of_an_introduced_client_are_counted(
    secure: Gateway, trust: ssl.SSLContext, scripted: ScriptedUpstream
) -> None:
    with introduced(secure, trust, "192.0.2.4") as raw:
        raw.until(SettingsFrame)
        scripted.expect(Script(b""))
        raw.send(raw.open(1, CONNECT))
        scripted.wait_for(1)
        raw.send(raw.open(3, CONNECT))
        refused = raw.until(HeadersFrame, stream=3)
        assert raw.fields(refused)[":status"] == "429"
        assert raw.fields(refused)["retry-after"] == "10"
