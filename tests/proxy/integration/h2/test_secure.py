"""HTTP/2 over TLS, with the clients that speak it there."""

import contextlib
import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket
from hyperframe.frame import DataFrame
from wsproto.events import BytesMessage, TextMessage

from tests.aragora.server.browser import browser
from tests.conftest import program
from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration import upstreams
from tests.proxy.integration.applications import content
from tests.proxy.integration.h2.programs import run
from tests.proxy.integration.h2.raw import Raw
from tests.proxy.integration.h2.test_websocket import Socket
from tests.waiting import until

NAME = "127.0.0.1"
pytestmark = pytest.mark.component("uvicorn")


@pytest.fixture(scope="module")
def secure(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with TLS before uvicorn."""
    folder = tmp_path_factory.mktemp("secure")
    cert, key = authority.issue(NAME)
    with contextlib.closing(upstreams.application("uvicorn", folder)) as behind:
        running = serve(
            folder / "gateway", behind.address, "--tls-cert", str(cert), "--tls-key", str(key), plain=True, admin=True
        )
        yield running
        running.close()
        assert "Traceback" not in running.log, running.log


def url(gateway: Gateway, path: str) -> str:
    return f"https://{NAME}:{gateway.port}{path}"


@pytest.mark.component("curl")
def test_curl(secure: Gateway, authority: Authority, tmp_path: Path) -> None:
    curl = ("curl", "-sS", "--http2", "--cacert", str(authority.file))
    upload = tmp_path / "upload"
    upload.write_bytes(content(3_000_000))
    shown = run(*curl, "-i", "--data-binary", f"@{upload}", url(secure, "/post"))
    assert shown.startswith("HTTP/2 200")
    assert hashlib.sha256(content(3_000_000)).hexdigest() in shown
    assert '"x-forwarded-proto": "https"' in shown
    got = tmp_path / "got"
    run(*curl, "-o", str(got), url(secure, "/bytes?n=5000000"))
    assert got.read_bytes() == content(5_000_000)
    assert run(*curl, "-i", "--http1.1", url(secure, "/a")).startswith("HTTP/1.1 200")


@pytest.mark.component("h2load")
def test_h2load(secure: Gateway) -> None:
    assert "300 succeeded, 0 failed" in run("h2load", "-n300", "-c6", "-m10", url(secure, "/bytes?n=1024"))
    assert "40 succeeded, 0 failed" in run("h2load", "-n40", "-c2", "-m10", url(secure, "/bytes?n=300000"))


def test_httpx(secure: Gateway, authority: Authority) -> None:
    with httpx.Client(http2=True, verify=authority.trust(), timeout=20) as client:
        for _ in range(3):
            response = client.post(url(secure, "/post"), content=b"b" * 100_000)
            assert response.http_version == "HTTP/2"
            assert response.json()["length"] == 100_000


def test_slow_and_fast_readers_share_a_connection(secure: Gateway, trust: ssl.SSLContext) -> None:
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", NAME)]
    with Raw(secure.port, tls=trust, settings={4: 1000}) as client:
        client.send(client.widen(0, 1 << 30))
        client.send(client.headers(1, [*fields, (":path", "/bytes?n=400000")]))
        client.send(client.headers(3, [*fields, (":path", "/bytes?n=400000")]), client.widen(3, 1 << 20))
        assert client.response(3)[1] == content(400_000)
        client.send(client.widen(1, 1 << 20))
        body = content(400_000)[:1000] + client.response(1)[1]
        assert body[-1000:] == content(400_000)[-1000:]


def test_websockets_beside_requests(secure: Gateway, trust: ssl.SSLContext) -> None:
    with Raw(secure.port, tls=trust) as client:
        sockets = [Socket(client, 1 + 2 * n) for n in range(3)]
        for sock in sockets:
            assert sock.accepted()[":status"] == "200"
        # Room for all echoes: who lets the large one fill the connection's window gets nothing else meanwhile.
        client.send(client.widen(0, 1 << 20))
        payload = bytes(range(250)) * 600
        sockets[1].send(BytesMessage(data=payload))
        sockets[2].send(TextMessage(data="small"))
        assert sockets[2].receive() == TextMessage(data="small")
        assert sockets[1].receive() == BytesMessage(data=payload)


def test_http_1_websockets_go_on_beside(secure: Gateway, authority: Authority) -> None:
    connection = websocket.create_connection(
        f"wss://{NAME}:{secure.port}/ws", timeout=10, sslopt={"ca_certs": str(authority.file)}
    )
    connection.send("hello")
    assert connection.recv() == "hello"
    connection.close()


def test_client_pausing_mid_response_gets_all_of_it(secure: Gateway, trust: ssl.SSLContext) -> None:
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", NAME), (":path", "/bytes?n=3000000")]
    with Raw(secure.port, tls=trust, settings={4: 1 << 24}) as client:
        client.send(client.widen(0, 1 << 24), client.headers(1, fields))
        client.until(DataFrame)
        with Raw(secure.port, tls=trust) as other:  # the first one's socket buffers fill meanwhile
            other.send(other.headers(1, [*fields[:3], (":path", "/a")]))
            assert other.response(1)[0][":status"] == "200"
        assert client.response(1)[1][-5000:] == content(3_000_000)[-5000:]


@pytest.mark.component("chromium")
def test_chromium_loads_and_opens_websockets_over_http_2(secure: Gateway, tmp_path: Path) -> None:
    chromium = tmp_path / "chromium"
    chromium.write_text(f'#!/bin/sh\nexec {program("chromium")} --ignore-certificate-errors "$@"\n')
    chromium.chmod(0o755)
    with browser(tmp_path / "profile", str(chromium)) as page:
        page.go(url(secure, "/a"))
        assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        lengths = page.evaluate(
            "Promise.all([...Array(30).keys()].map(n => fetch('/bytes?n=' + (10000 + n))"
            ".then(r => r.arrayBuffer()).then(b => b.byteLength)))"
        )
        assert lengths == [10000 + n for n in range(30)]
        echoed = page.evaluate(
            "new Promise((done, failed) => { const s = new WebSocket(location.origin.replace('https', 'wss') + '/ws');"
            "s.onopen = () => s.send('over http/2'); s.onmessage = m => { s.send('bye'); done(m.data) };"
            "s.onerror = failed })"
        )
        assert echoed == "over http/2"
    entries = until(lambda: sockets_in(secure), "the WebSocket's line")
    assert entries[-1]["protocol"] == "HTTP/2.0"


def sockets_in(gateway: Gateway) -> list[dict[str, Any]]:
    """The log's lines of browsers' WebSockets."""
    return [one for one in gateway.logged() if one["target"] == "/ws" and "Chrome" in (one["user_agent"] or "")]
