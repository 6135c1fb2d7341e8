"""Real servers behind the gateway, asked by real clients."""

import asyncio
import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration import upstreams
from tests.proxy.integration.applications import EVENTS, content, read_events
from tests.proxy.integration.exchange import PATIENCE, Client

LARGE = 3_000_000


@dataclass
class Service:
    """A gateway and the kind of server behind it."""

    kind: str
    gateway: Gateway


@pytest.fixture(scope="module", params=["sync", "gthread", "gevent", "uvicorn"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Each server in turn."""
    folder = tmp_path_factory.mktemp(request.param)
    with contextlib.closing(upstreams.application(request.param, folder)) as behind:
        gateway = serve(folder / "gateway", behind.address)
        yield Service(request.param, gateway)
        gateway.close()


def test_requests_get_post_and_reuse(service: Service) -> None:
    body = content(LARGE)
    with requests.Session() as session:
        for _ in range(3):
            answer = session.get(f"{service.gateway.url}/bytes", params={"n": LARGE}, timeout=PATIENCE)
            assert answer.content == body
            seen = session.post(f"{service.gateway.url}/echo", data=body, timeout=PATIENCE).json()
            assert (seen["length"], seen["sha256"]) == (LARGE, hashlib.sha256(body).hexdigest())


def test_forwarding_fields_arrive(service: Service) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X_Real_IP": "6.6.6.6"}
    seen = requests.get(f"{service.gateway.url}/who", headers=forged, timeout=PATIENCE).json()["fields"]
    assert seen["x-forwarded-for"] == seen["x-real-ip"] == "127.0.0.1"
    assert seen["scheme"] == seen["x-forwarded-proto"] == "http"
    assert seen["host"] == seen["x-forwarded-host"] == f"127.0.0.1:{service.gateway.port}"
    assert seen["x-request-id"]


def test_chunked_upload_and_streamed_answer(service: Service) -> None:
    pieces = [content(10_000)] * 20
    with httpx.Client(timeout=PATIENCE) as client:
        seen = client.post(f"{service.gateway.url}/echo", content=iter(pieces)).json()
        assert seen["length"] == 200_000
        assert seen["fields"].get("transfer-encoding") is None
        with client.stream("GET", f"{service.gateway.url}/stream") as answer:
            assert answer.headers["Transfer-Encoding"] == "chunked"
            assert answer.read() == b"".join(pieces)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods(service: Service, method: str) -> None:
    seen = requests.request(method, f"{service.gateway.url}/any", data=b"body", timeout=PATIENCE).json()
    assert (seen["method"], seen["length"]) == (method, 4)


def test_answers_without_body_leave_the_connection_usable(service: Service) -> None:
    with requests.Session() as session:
        for method, path, status in (("HEAD", "/bytes?n=1000", 200), ("GET", "/204", 204), ("GET", "/304", 304)):
            answer = session.request(method, service.gateway.url + path, timeout=PATIENCE)
            assert (answer.status_code, answer.content) == (status, b"")
            if method == "HEAD":
                assert answer.headers["Content-Length"] == "1000"
            assert len(session.get(f"{service.gateway.url}/bytes?n=10", timeout=PATIENCE).content) == 10


def test_events_arrive_as_they_are_sent(service: Service, tmp_path: Path) -> None:
    address = f"{service.gateway.url}/events?place={tmp_path}"
    with httpx.Client(timeout=PATIENCE) as client, client.stream("GET", address) as answer:
        assert read_events(answer.iter_lines(), tmp_path) == [f"data: {number}" for number in range(EVENTS)]


def test_many_at_once(service: Service) -> None:
    async def ask(session: aiohttp.ClientSession, number: int) -> bool:
        url = f"{service.gateway.url}/bytes?n={number * 1000}"
        async with session.get(url) as answer:
            return await answer.read() == content(number * 1000)

    async def run() -> list[bool]:
        limits = aiohttp.ClientTimeout(total=3 * PATIENCE)
        async with aiohttp.ClientSession(timeout=limits) as session:
            return await asyncio.gather(*(ask(session, number) for number in range(100)))

    assert all(asyncio.run(run()))


def test_continue_is_sent_by_the_gateway(service: Service) -> None:
    with Client(service.gateway.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer().status == 100
        client.send(b"hello")
        assert client.answer().status == 200


def test_early_hints_are_relayed(service: Service) -> None:
    if service.kind == "uvicorn":
        pytest.skip("this application has no way to send early hints through uvicorn")
    with Client(service.gateway.address) as client:
        client.send(b"GET /hints HTTP/1.1\r\nHost: a\r\n\r\n")
        hints = client.answer()
        assert (hints.status, hints.field("Link")) == (103, "</style.css>; rel=preload")
        assert client.answer().status == 200


@pytest.mark.component("curl")
def test_curl(service: Service, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(content(LARGE))
    curl = ["curl", "-sS", "--max-time", str(PATIENCE)]
    sent = subprocess.run(
        [*curl, "-T", str(upload), "-H", "Expect: 100-continue", f"{service.gateway.url}/echo"],
        capture_output=True, check=True, timeout=2 * PATIENCE,
    )  # fmt: skip
    assert hashlib.sha256(content(LARGE)).hexdigest().encode() in sent.stdout
    both = subprocess.run(
        [*curl, "-o", "/dev/null", "-w", "%{http_code} %{num_connects} %{size_download}\n", "-I",
         f"{service.gateway.url}/bytes?n=10", "--next", "-sS", "-o", "/dev/null", "-w",
         "%{http_code} %{num_connects} %{size_download}\n", f"{service.gateway.url}/bytes?n=10"],
        capture_output=True, check=True, timeout=2 * PATIENCE, text=True,
    )  # fmt: skip
    assert both.stdout.split("\n")[1] == "200 0 10", "the second request used a new connection"


@pytest.mark.component("nginx")
def test_nginx_serves_files_ranges_and_validators(tmp_path: Path) -> None:
    assert shutil.which("nginx")
    body = content(LARGE)
    with contextlib.closing(upstreams.nginx(tmp_path / "nginx", {"file": body})) as behind:
        gateway = serve(tmp_path / "gateway", behind.address)
        try:
            with requests.Session() as session:
                whole = session.get(f"{gateway.url}/file", timeout=PATIENCE)
                assert whole.content == body
                part = session.get(f"{gateway.url}/file", headers={"Range": "bytes=100-199"}, timeout=PATIENCE)
                assert (part.status_code, part.content) == (206, body[100:200])
                known = {"If-None-Match": whole.headers["ETag"]}
                same = session.get(f"{gateway.url}/file", headers=known, timeout=PATIENCE)
                assert (same.status_code, same.content) == (304, b"")
                assert session.get(f"{gateway.url}/none", timeout=PATIENCE).status_code == 404
        finally:
            gateway.close()
