"""Behind other proxies, through a running gateway: whose word counts, request by request."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.scripted import ScriptedUpstream
from tests.waiting import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def trusting(scripted: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway behind a trusted proxy: the test."""
    running = serve(tmp_path_factory.mktemp("trusting"), scripted.address, "--trusted-proxies", "127.0.0.0/8")
    yield running
    running.close()
    assert "failed inside the gateway" not in running.log, running.log


def fields_for(client: Client, scripted: ScriptedUpstream, *lines: str) -> dict[str, str]:
    """What the upstream is told when the client sends these fields."""
    scripted.expect()
    client.send("\r\n".join(["GET /a HTTP/1.1", "Host: h.example", *lines, "", ""]).encode())
    assert client.final().status == 200
    head = scripted.wait_for(1)[0].data.decode().split("\r\n\r\n")[0]
    pairs = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
    assert len({name.lower() for name, _ in pairs}) == len(pairs), "each field once"
    return {name.lower(): value for name, value in pairs}


def logged(gateway: Gateway, count: int) -> list[dict[str, object]]:
    return until(lambda: found if len(found := gateway.logged()) >= count else [], "the lines are logged")


def test_each_request_of_a_connection_is_for_its_own_client(trusting: Gateway, scripted: ScriptedUpstream) -> None:
    with Client(trusting.address) as client:
        for _ in range(3):  # the second and third time by heart
            told = fields_for(client, scripted, "X-Forwarded-For: 6.6.6.6, 192.0.2.1", "X-Forwarded-Proto: https")
            assert told["x-forwarded-for"] == "6.6.6.6, 192.0.2.1, 192.0.2.1"
            assert told["x-real-ip"] == "192.0.2.1"
            assert (told["x-forwarded-proto"], told["x-forwarded-port"]) == ("https", "443")
            assert told["forwarded"] == "for=6.6.6.6, for=192.0.2.1, for=127.0.0.1;proto=http;host=h.example"
        other = fields_for(client, scripted, "X-Forwarded-For: 192.0.2.9")
        assert (other["x-real-ip"], other["x-forwarded-proto"]) == ("192.0.2.9", "http")
        bare = fields_for(client, scripted)
        assert (bare["x-real-ip"], bare["x-forwarded-for"]) == ("127.0.0.1", "127.0.0.1")
    assert [line["client"] for line in logged(trusting, 5)] == ["192.0.2.1"] * 3 + ["192.0.2.9", "127.0.0.1"]


def test_ids_and_traces_of_a_trusted_proxy_go_through(trusting: Gateway, scripted: ScriptedUpstream) -> None:
    with Client(trusting.address) as client:
        for _ in range(3):
            told = fields_for(
                client, scripted, "X-Request-ID: edge/1", f"Traceparent: {PARENT}", "tracestate: a=1, b=2"
            )
            assert told["x-request-id"] == "edge/1"
            assert (told["traceparent"], told["tracestate"]) == (PARENT, "a=1,b=2")
        assert fields_for(client, scripted, "X-Request-ID: not good")["x-request-id"] != "not good"
        told = fields_for(client, scripted, "traceparent: 00-0-0-0", "tracestate: a=1")
        assert {"traceparent", "tracestate"} & told.keys() == set()
    lines = until(lambda: [line for line in logged(trusting, 1) if line["request_id"] == "edge/1"], "the log")
    assert lines[0]["trace_id"] == TRACE


def test_a_stranger_brings_neither_id_nor_trace(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    gateway = start(scripted.address, "--tracing", "on")
    with Client(gateway.address) as client:
        told = fields_for(client, scripted, "X-Request-ID: mine", "X-Forwarded-For: 6.6.6.6", f"traceparent: {PARENT}")
        assert told["x-request-id"] != "mine"
        assert told["x-real-ip"] == "127.0.0.1"
        first = told["traceparent"]
        assert TRACE not in first, "another trace begins"
        begun = [first, *(fields_for(client, scripted)["traceparent"] for _ in range(4))]
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent) for parent in begun)
    assert len({parent[3:35] for parent in begun}) == 5, "each request begins a trace of its own"
    traces = [line["trace_id"] for line in logged(gateway, 5)]
    assert traces == [parent[3:35] for parent in begun]


def test_a_unix_socket_is_trusted_only_if_named(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    for trusted, told in (("127.0.0.1", None), ("unix", "192.0.2.1")):
        path = tmp_path / f"{trusted}.sock"
        start(scripted.address, "--bind", f"unix:{path}", "--trusted-proxies", trusted)
        with UnixClient(path) as client:
            fields = fields_for(client, scripted, "X-Forwarded-For: 192.0.2.1")
            assert fields.get("x-real-ip") == told
            hops = f"{told}, {told}" if told else "unknown"
            assert fields["x-forwarded-for"] == hops, "no request may look like one without a gateway"
            assert fields_for(client, scripted)["x-forwarded-for"] == "unknown"


class UnixClient(Client):
    """A connection to a gateway's unix socket."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(path))
        self.pending = b""
        self.ended = False
