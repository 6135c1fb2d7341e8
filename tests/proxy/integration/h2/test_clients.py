"""Programs and libraries that people use, over HTTP/2 without TLS."""

import hashlib
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import program
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration import upstreams
from tests.proxy.integration.applications import content, read_events
from tests.proxy.integration.exchange import PATIENCE
from tests.proxy.integration.h2.programs import run
from tests.proxy.integration.scripted import ScriptedUpstream
from tests.waiting import until


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A gateway before gunicorn."""
    folder = tmp_path_factory.mktemp("application")
    behind = upstreams.application("gthread", folder)
    running = serve(folder / "gateway", behind.address, "--h2c", "on")
    yield running
    running.close()
    behind.close()
    assert "Traceback" not in running.log, running.log


@pytest.mark.component("curl")
def test_curl_gets_and_posts(application: Gateway, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(content(3_000_000))
    shown = run("curl", "-sSi", "--http2-prior-knowledge", "--data-binary", f"@{upload}", f"{application.url}/post")
    assert shown.startswith("HTTP/2 200")
    assert hashlib.sha256(content(3_000_000)).hexdigest() in shown
    got = tmp_path / "got"
    run("curl", "-sS", "--http2-prior-knowledge", "-o", str(got), f"{application.url}/bytes?n=5000000")
    assert got.read_bytes() == content(5_000_000)
    assert len(run("curl", "-sS", "--http2-prior-knowledge", f"{application.url}/stream")) == 200_000


@pytest.mark.component("curl")
def test_curl_that_offers_an_upgrade_is_answered_in_http_1(application: Gateway) -> None:
    assert run("curl", "-sSi", "--http2", f"{application.url}/").startswith("HTTP/1.1 200")


@pytest.mark.component("h2load")
def test_nghttp_and_h2load(application: Gateway) -> None:
    assert "200" in run("nghttp", "-nv", f"{application.url}/")
    load = run("h2load", "-n", "400", "-c", "4", "-m", "10", f"{application.url}/bytes?n=1024")
    assert "400 succeeded, 0 failed" in load
    slow = run("h2load", "-n", "20", "-c", "2", "-m", "10", "-w", "10", "-W", "12", f"{application.url}/bytes?n=100000")
    assert "20 succeeded, 0 failed" in slow


@pytest.mark.component("h2load")
def test_reloads_under_load_lose_nothing(application: Gateway) -> None:
    path = program("h2load")
    assert path is not None
    command = [path, "-n", "1500", "-c", "8", "-m", "10", f"{application.url}/bytes?n=2000"]
    load = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    reloads = 0
    while load.poll() is None and reloads < 5:
        application.signal(signal.SIGHUP)
        reloads += 1
        until(lambda: application.log.count("Handling signal: hup") >= reloads, "the reload")  # noqa: B023
    output = load.communicate(timeout=60)[0].decode()
    assert "1500 succeeded, 0 failed" in output


@pytest.mark.component("curl")
def test_clients_that_are_refused_while_they_send_see_why(gateway: Gateway, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(content(3_000_000))
    shown = run("curl", "-sSi", "--http2-prior-knowledge", "--data-binary", f"@{upload}", f"{gateway.url}/post")
    assert shown.startswith("HTTP/2 413")
    with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
        assert client.post(f"{gateway.url}/post", content=content(3_000_000)).status_code == 413


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_without_a_limit_bodies_of_any_size_pass(
    origin: ScriptedUpstream, start: Callable[..., Gateway], buffering: str
) -> None:
    gateway = start(origin.address, "--max-body", "0", "--request-buffering", buffering)
    origin.expect()
    with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
        assert client.post(f"{gateway.url}/post", content=content(300_000)).status_code == 200
        assert client.post(f"{gateway.url}/post", content=iter([content(300_000)])).status_code == 200
        refused = client.post(f"{gateway.url}/post", content=b"", headers={"x-a": "a" * 9000})
        assert "max_field" in refused.json()["error"]["message"]


def test_httpx_over_one_connection(application: Gateway, tmp_path: Path) -> None:
    with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
        for _ in range(5):
            response = client.post(f"{application.url}/post?x=1", content=b"b" * 70_000, headers={"cookie": "a=b"})
            assert response.http_version == "HTTP/2"
            assert response.json()["length"] == 70_000
        with client.stream("GET", f"{application.url}/events?place={tmp_path}") as stream:
            assert read_events(stream.iter_lines(), tmp_path) == ["data: 0", "data: 1", "data: 2"]
        assert client.head(f"{application.url}/bytes?n=5").headers["content-length"] == "5"
