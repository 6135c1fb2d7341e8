"""The PROXY protocol on both sides of a running gateway."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.wire.proxy_protocol import Endpoints, make_v1, make_v2, parse_header
from tests.conftest import program
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.scripted import Manual, ScriptedUpstream
from tests.proxy.integration.upstreams import Upstream
from tests.waiting import PATIENCE, until

SEEN = Endpoints("192.0.2.1", 4711, "198.51.100.1", 443)
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def behind(scripted: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway behind a load balancer that introduces clients: the test."""
    running = serve(
        tmp_path_factory.mktemp("behind"), scripted.address, "--proxy-protocol", "on", "--trusted-proxies",
        "127.0.0.1", "--head-timeout", "1",
    )  # fmt: skip
    yield running
    running.close()
    assert "failed inside the gateway" not in running.log, running.log


def upstream_sees(scripted: ScriptedUpstream, name: str) -> list[str]:
    found = [line.decode() for request in scripted.received for line in request.data.split(b"\r\n")]
    return [line.partition(": ")[2] for line in found if line.startswith(name + ":")]


@pytest.mark.parametrize("header", [make_v1(SEEN), make_v2(SEEN)])
def test_a_header_says_who_the_client_is(behind: Gateway, scripted: ScriptedUpstream, header: bytes) -> None:
    for send in (Client.send, Client.send_bytewise):
        scripted.expect()
        with Client(behind.address) as client:
            send(client, header + GET)
            assert client.final().status == 200
            client.send(GET.replace(b"Host: h", b"Host: h\r\nX-Forwarded-For: 6.6.6.6"))
            assert client.final().status == 200
        assert upstream_sees(scripted, "X-Forwarded-For") == ["192.0.2.1"] * 2
        assert upstream_sees(scripted, "X-Real-IP") == ["192.0.2.1"] * 2


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", make_v2(None)])
def test_a_health_check_speaks_for_itself(behind: Gateway, scripted: ScriptedUpstream, header: bytes) -> None:
    scripted.expect()
    with Client(behind.address) as client:
        client.send(header + GET)
        assert client.final().status == 200
    assert upstream_sees(scripted, "X-Real-IP") == ["127.0.0.1"]


@pytest.mark.parametrize("first", [GET, b"PROXY TCP4 1.2.3.4 5.6.7.8 x y\r\n", make_v1(SEEN)[:20]])
def test_without_a_header_nobody_is_served(behind: Gateway, scripted: ScriptedUpstream, first: bytes) -> None:
    scripted.expect()
    with Client(behind.address) as client:
        client.send(first)
        assert client.at_end(), "at once, or when the deadline has passed"
        assert client.pending == b""
    assert scripted.received == []


def test_nobody_else_may_introduce(start: Callable[..., Gateway], scripted: ScriptedUpstream) -> None:
    gateway = start(scripted.address, "--proxy-protocol", "on", "--trusted-proxies", "203.0.113.0/24")
    scripted.expect()
    with Client(gateway.address) as client:
        client.send(make_v1(SEEN) + GET)
        assert client.at_end()
    assert scripted.received == []


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_upstream_is_told_on_a_connection_of_its_own(
    start: Callable[..., Gateway], manual: Manual, version: str
) -> None:
    gateway = start(manual.address, "--proxy-protocol-out", version, "--trusted-proxies", "127.0.0.1")
    with Client(gateway.address) as client:
        own = client.sock.getsockname()
        for claimed, source in ((b"", own), (b"X-Forwarded-For: 192.0.2.7\r\n", ("192.0.2.7", 0))):
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + claimed + b"\r\n")
            upstream = manual.accept()
            data = b""
            while not data.endswith(b"\r\n\r\n") or b"GET" not in data:
                data += upstream.recv(65536)
            found = parse_header(data)
            assert found is not None
            assert found[0] == Endpoints(*source, *gateway.address)
            assert data[found[1] :].startswith(b"GET / HTTP/1.1\r\n")
            upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert client.final().status == 200
            assert upstream.recv(1) == b"", "closed: the next request is another client's"


@pytest.mark.component("haproxy")
def test_haproxy_introduces_and_is_introduced_to(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    """client - HAProxy (send-proxy-v2 with a checksum) - gateway (v1 out) - HAProxy (accept-proxy) - upstream."""
    haproxy = program("haproxy")
    assert haproxy is not None
    inner = tmp_path / "inner.sock"
    gateway = start(
        f"unix:{inner}", "--proxy-protocol", "on", "--trusted-proxies", "127.0.0.1", "--proxy-protocol-out", "v1",
    )  # fmt: skip
    outer = socket.create_server(("127.0.0.1", 0))
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(f"""
defaults
    mode tcp
    timeout client 20s
    timeout server 20s
    timeout connect 5s
listen outer
    bind fd@{outer.fileno()}
    server gateway 127.0.0.1:{gateway.port} send-proxy-v2 proxy-v2-options crc32c,unique-id
listen inner
    mode http
    bind unix@{inner} accept-proxy
    http-request set-header X-Introduced "%[src] %[dst_port]"
    server upstream {scripted.address}
""")
    process = subprocess.Popen([haproxy, "-f", str(configuration), "-db"], pass_fds=[outer.fileno()])
    try:
        until(inner.exists, "HAProxy listens")
        scripted.expect()
        with Client(outer.getsockname()) as client:
            client.send(GET)
            assert client.final().status == 200
        assert upstream_sees(scripted, "x-introduced") == [f"127.0.0.1 {gateway.port}"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        outer.close()


def remote(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """A WSGI application that answers with its peer's address."""
    body = environ["REMOTE_ADDR"].encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_gunicorn_takes_the_client_for_its_peer(start: Callable[..., Gateway], tmp_path: Path, version: str) -> None:
    command = [
        sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "--proxy-protocol", version,
        "--keep-alive", "5", "--worker-class", "gevent", "tests.proxy.downstream.test_proxy_header:remote",
    ]  # fmt: skip
    with contextlib.closing(Upstream(command, tmp_path / "gunicorn.log")) as upstream:
        gateway = start(
            upstream.address, "--proxy-protocol-out", version, "--trusted-proxies", "127.0.0.1", "--health-path", "/",
            "--health-interval", "1s", "--health-fall", "1",
        )  # fmt: skip
        with Client(gateway.address) as client:
            for address in ("192.0.2.1", "2001:db8::1", "192.0.2.2"):
                client.send(GET.replace(b"Host: h", b"Host: h\r\nX-Forwarded-For: " + address.encode()))
                answer = client.final()
                assert (answer.status, answer.body.decode()) == (200, address)
        assert "is down" not in gateway.log
