"""HTTP/1.1 and WebSockets over TLS, through a whole gateway."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as connect_websocket

from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway
from tests.proxy.integration import upstreams
from tests.proxy.integration.applications import content
from tests.proxy.tls_gateway import Browser, by_hand, connect, serve_tls
from tests.waiting import until

NAME = "front.test"
pytestmark = pytest.mark.component("uvicorn")


@pytest.fixture(scope="module")
def trust(authority: Authority) -> ssl.SSLContext:
    return authority.trust()


@pytest.fixture(scope="module")
def gateway(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two workers before uvicorn."""
    folder = tmp_path_factory.mktemp("front")
    cert, key = authority.issue(NAME, "other.test")
    with contextlib.closing(upstreams.application("uvicorn", folder)) as behind:
        running = serve_tls(
            folder / "gateway", behind.address, "--tls-cert", str(cert), "--tls-key", str(key), "--hsts", "1d",
            workers=2)  # fmt: skip
        yield running
        running.close()
        assert "failed inside the gateway" not in running.log, running.log


def test_the_application_is_told_that_the_client_uses_https(gateway: Gateway, trust: ssl.SSLContext) -> None:
    browser = Browser(gateway, trust, NAME)
    for _ in range(3):
        status, body = browser.ask("GET", "/a")
        fields = json.loads(body)["fields"]
        assert status == 200
        assert fields["x-forwarded-proto"] == "https"
        assert fields["x-forwarded-port"] == str(gateway.port)
    browser.close()


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 200_000, 5_000_000])
def test_bodies_of_any_size_pass_both_ways(gateway: Gateway, trust: ssl.SSLContext, size: int) -> None:
    body = content(size)
    browser = Browser(gateway, trust, NAME)
    status, answer = browser.ask("POST", "/up", body)
    seen = json.loads(answer)
    assert (status, seen["length"], seen["sha256"]) == (200, size, hashlib.sha256(body).hexdigest())
    assert browser.ask("GET", f"/bytes?n={size}") == (200, body)
    pieces = [body[start : start + 50_000] for start in range(0, size, 50_000)]
    status, answer = browser.ask("POST", "/chunked", iter(pieces), encode_chunked=True)
    assert json.loads(answer)["sha256"] == hashlib.sha256(body).hexdigest()
    browser.close()


def test_a_stream_comes_whole(gateway: Gateway, trust: ssl.SSLContext) -> None:
    browser = Browser(gateway, trust, NAME)
    status, body = browser.ask("GET", "/stream")
    assert (status, len(body)) == (200, 200_000)
    browser.close()


def test_requests_in_one_record_are_answered_in_order(gateway: Gateway, trust: ssl.SSLContext) -> None:
    sock = connect(gateway, trust, NAME)
    ask = b"GET /%d HTTP/1.1\r\nHost: front.test\r\n%s\r\n"
    sock.sendall(b"".join(ask % (number, b"") for number in range(9)) + ask % (9, b"Connection: close\r\n"))
    heard = b""
    while data := sock.recv(65536):
        heard += data
    assert [heard.index(b'"path": "/%d"' % number) for number in range(10)] == sorted(
        heard.index(b'"path": "/%d"' % number) for number in range(10)
    )
    sock.close()


def test_requests_in_coalesced_records_are_answered(gateway: Gateway, trust: ssl.SSLContext) -> None:
    """What OpenSSL still holds when a request is answered is not forgotten."""
    heard = b""
    with by_hand(gateway, trust, NAME) as client:
        for number in range(20):
            client.write(b"GET /%d HTTP/1.1\r\nHost: front.test\r\nX-Filling: %s\r\n\r\n" % (number, b"x" * 3000))
        while client.push():
            pass
        while heard.count(b'"path"') < 20:
            heard += client.receive()
    assert b'"path": "/19"' in heard


def test_a_slow_reader_gets_everything(gateway: Gateway, trust: ssl.SSLContext) -> None:
    """More than the socket's buffers hold: the gateway spools what the client has not taken."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.settimeout(20)
    raw.connect(gateway.address)
    sock = trust.wrap_socket(raw, server_hostname=NAME)
    sock.sendall(b"GET /bytes?n=3000000 HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n")
    heard = bytearray()
    while data := sock.recv(1500):
        heard += data
    assert hashlib.sha256(heard[-3_000_000:]).digest() == hashlib.sha256(content(3_000_000)).digest()
    sock.close()


def test_websockets_both_ways(gateway: Gateway, trust: ssl.SSLContext) -> None:
    """By a client of one thread: OpenSSL allows no second one to send on a connection that is being read."""
    messages = "hello", "ü" * 1000, "x" * 300_000, os.urandom(1_000_000)

    async def echoed() -> list[str | bytes]:
        where = {"host": "127.0.0.1", "port": gateway.port}
        async with connect_websocket(f"wss://{NAME}/ws", ssl=trust, max_size=None, proxy=None, **where) as connection:
            one_by_one = []
            for message in messages[:3]:
                await connection.send(message)
                one_by_one.append(await connection.recv())
            sending = asyncio.create_task(connection.send(messages[3]))
            one_by_one.append(await connection.recv())
            await sending
            return one_by_one

    assert asyncio.run(echoed()) == list(messages)


def test_a_tunnel_sees_an_end_that_comes_behind_data(gateway: Gateway, trust: ssl.SSLContext) -> None:
    """A frame and close_notify in one segment, and no FIN: as asyncio's clients close."""
    with by_hand(gateway, trust, NAME) as client:
        client.write(
            b"GET /ws HTTP/1.1\r\nHost: front.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        client.push()
        heard = client.receive()
        while b"\r\n\r\n" not in heard:
            heard += client.receive()
        assert heard.startswith(b"HTTP/1.1 101")
        client.write(b"\x81\x82\0\0\0\0hi")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.push()
        while client.far.recv(65536):
            pass  # the application has seen the end, and so ends too


def parked_by_worker(gateway: Gateway) -> list[int]:
    return [worker["connections"]["idle"] for worker in gateway.status()["workers"]]


def test_session_resumes_at_any_worker_and_after_reload(gateway: Gateway, authority: Authority) -> None:
    context = authority.trust()
    with connect(gateway, context, NAME) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n")
        while sock.recv(65536):
            pass
        session = sock.session
    assert session is not None
    for _ in range(2):
        held = [connect(gateway, context, NAME, session) for _ in range(12)]
        assert all(sock.session_reused for sock in held)
        # One worker having everything would show nothing.
        until(lambda: [parked > 0 for parked in parked_by_worker(gateway)] == [True] * 2, "both have some")
        for sock in held:
            sock.close()
        reloads = gateway.status()["totals"]["reloads"]
        gateway.signal(signal.SIGHUP)
        until(lambda seen=reloads: gateway.status()["totals"]["reloads"] == seen + 2, "both have reloaded")


def test_plain_http_is_told_to_use_https(gateway: Gateway) -> None:
    plain = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    plain.request("GET", "/")
    answer = plain.getresponse()
    assert answer.status == 400
    assert b"https://" in answer.read()
    plain.close()


def test_answers_over_tls_ask_for_tls_from_now_on(gateway: Gateway, trust: ssl.SSLContext) -> None:
    browser = Browser(gateway, trust, NAME)
    browser.request("GET", "/")
    assert browser.getresponse().getheader("Strict-Transport-Security") == "max-age=86400"
    browser.close()
    plain = HTTPConnection(*gateway.plain, timeout=10)
    plain.request("GET", "/")
    assert plain.getresponse().getheader("Strict-Transport-Security") is None
    plain.close()


def test_the_plain_port_redirects(gateway: Gateway) -> None:
    def location(host: str, target: str = "/a/b?c=d&e") -> tuple[int, str | None]:
        plain = HTTPConnection(*gateway.plain, timeout=10)
        plain.putrequest("GET", target, skip_host=True)
        plain.putheader("Host", host)
        plain.endheaders()
        answer = plain.getresponse()
        answer.read()
        plain.close()
        return answer.status, answer.getheader("Location")

    assert location("front.test") == (308, "https://front.test/a/b?c=d&e")
    assert location("front.test:8080") == (308, f"https://front.test:{gateway.port}/a/b?c=d&e")
    assert location("front.test:80") == (308, "https://front.test/a/b?c=d&e")
    assert location("front.test:") == (308, "https://front.test/a/b?c=d&e")
    assert location("[::1]") == (308, "https://[::1]/a/b?c=d&e")
    assert location("front.test", "//evil.test/x") == (308, "https://front.test//evil.test/x")
    assert location("front.test/evil")[0] == 400


def test_garbage_and_silence_are_counted_and_harm_nobody(gateway: Gateway, trust: ssl.SSLContext) -> None:
    failures = 'requests_rejected_total{reason="tls_handshake"}'
    before = gateway.metric(failures)
    with socket.create_connection(gateway.address, timeout=10) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05hello")
        assert sock.recv(10)[:1] == b"\x15"
    with socket.create_connection(gateway.address, timeout=10) as sock:
        sock.sendall(b"\x16\x03")
    with socket.create_connection(gateway.address, timeout=10):
        pass
    until(lambda: gateway.metric(failures) >= before + 2, "the failures are counted")
    browser = Browser(gateway, trust, NAME)
    assert browser.ask("GET", "/")[0] == 200
    browser.close()


@pytest.mark.component("openssl")
def test_key_updates_and_attempts_to_renegotiate_are_harmless(gateway: Gateway, authority: Authority) -> None:
    def session(version: str, command: bytes) -> bytes:
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", NAME, "-CAfile",
             str(authority.file), version, "-crlf"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        heard = b""

        def hear(mark: bytes) -> None:
            nonlocal heard
            while mark not in heard:
                data = os.read(client.stdout.fileno(), 65536)  # type: ignore[union-attr]
                if not data:
                    return
                heard += data

        hear(b"Verify return code")
        client.stdin.write(command)
        client.stdin.flush()
        hear(b"KEYUPDATE" if command[:1] in b"Kk" else b"RENEGOTIATING")
        with contextlib.suppress(BrokenPipeError):
            client.stdin.write(b"GET /after HTTP/1.1\nHost: front.test\nConnection: close\n\n")
            client.stdin.flush()
        hear(b'"path": "/after"')
        client.kill()
        client.wait()
        with contextlib.suppress(BrokenPipeError):  # of what it did not read
            client.stdin.close()
        client.stdout.close()
        return heard

    assert b'"path": "/after"' in session("-tls1_3", b"K\n")
    assert b'"path": "/after"' in session("-tls1_3", b"k\n")
    session("-tls1_2", b"R\n")
    browser = Browser(gateway, authority.trust(), NAME)
    assert browser.ask("GET", "/")[0] == 200
    browser.close()


def test_certificates_and_handshakes_are_in_the_metrics(gateway: Gateway, trust: ssl.SSLContext) -> None:
    text = gateway.admin_text("/metrics")
    assert f'aragora_proxy_certificate_expiry_seconds{{name="{NAME}"}}' in text
    with connect(gateway, trust, NAME):
        until(lambda: gateway.metric("tls_handshakes_total") > 0, "the handshake is counted")


def test_a_proxy_protocol_header_comes_before_the_handshake(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("introduced.test")
    with contextlib.closing(serve_tls(
            tmp_path, "127.0.0.1:9", "--tls-cert", str(cert), "--tls-key", str(key), "--proxy-protocol", "on",
            "--trusted-proxies", "127.0.0.1", "--retry-wait", "0")) as running:  # fmt: skip
        with socket.create_connection(running.address, timeout=20) as raw:
            raw.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 1111 443\r\n")
            with authority.trust().wrap_socket(raw, server_hostname="introduced.test") as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: introduced.test\r\nConnection: close\r\n\r\n")
                assert sock.recv(100).startswith(b"HTTP/1.1 50")
        until(lambda: '"192.0.2.7"' in running.access_log.read_text(), "the client's own address is logged")


def test_a_client_may_be_asked_for_its_certificate(
    authority: Authority, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clients = Authority(tmp_path_factory.mktemp("clients"), "clients")
    cert, key = authority.issue("mutual.test")
    running = serve_tls(
        tmp_path, "127.0.0.1:9", "--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(clients.file),
        "--retry-wait", "0")  # fmt: skip
    try:
        context = authority.trust()
        context.load_cert_chain(*clients.issue("somebody"))
        known = Browser(running, context, "mutual.test")
        assert known.ask("GET", "/")[0] in (502, 503)
        known.close()
        stranger = Browser(running, authority.trust(), "mutual.test")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            stranger.ask("GET", "/")
        stranger.close()
    finally:
        running.close()


@pytest.mark.component("curl")
def test_http2_is_spoken_where_the_client_asks_for_it(gateway: Gateway, authority: Authority) -> None:
    shown = subprocess.run(
        ["curl", "--silent", "--show-error", "--http2", "--cacert", authority.file, "--resolve",
         f"{NAME}:{gateway.port}:127.0.0.1", "--write-out", "\n%{http_version} %{http_code}\n", "--data-binary", "@-",
         f"https://{NAME}:{gateway.port}/up", f"https://{NAME}:{gateway.port}/bytes?n=300000", "--output", "-",
         "--output", os.devnull],
        input=content(300_000), capture_output=True, check=True, timeout=30)  # fmt: skip
    assert hashlib.sha256(content(300_000)).hexdigest().encode() in shown.stdout
    assert shown.stdout.count(b"\n2 200") == 2
