"""scripts/bench measures, reports and ends what it started."""

import contextlib
import json
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.proxy.gateway import ROOT, alive, children
from tests.proxy.integration.stored_pages import Application, Page
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.component("nginx")


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "bench"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def test_a_port_for_a_server_is_given_to_nobody_else() -> None:
    code = "from benchmark.process import free_port; print(free_port(), flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=ROOT / "scripts", text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        with socket.socket() as stranger, pytest.raises(OSError, match="Address already in use"):
            stranger.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)):  # sets SO_REUSEADDR
            pass
        holder.communicate("\n")


def test_measures_the_gateway_beside_nginx(tmp_path: Path) -> None:
    names = ("get-1k", "websocket-125", "limited-1k", "p99-1k")
    chosen = [word for name in names for word in ("--scenario", name)]
    done = bench("--quick", "--rounds", "1", "--seconds", "0.2", "--rate", "50", *chosen, "--peers", "proxy,nginx,bare",
                 "--out", str(tmp_path))  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    facts = json.loads((tmp_path / "results.json").read_text())
    for scenario in ("get-1k", "websocket-125"):
        for peer in ("proxy", "nginx", "bare"):
            measured = facts["scenarios"][scenario]["peers"][peer]
            assert measured["failure"] is None
            assert 1 < measured["median"] < 5000
            assert all(0 <= one["spent"]["kernel_ns"] <= one["spent"]["proxy_ns"] for one in measured["rounds"])
    assert facts["scenarios"]["limited-1k"]["peers"]["proxy"]["median"] > 1
    paced = facts["scenarios"]["p99-1k"]["peers"]["nginx"]
    assert paced["median"] or "not 50" in paced["failure"]  # a busy machine may not keep the rate
    assert 0 <= facts["plan"]["quiet"]["steal"] <= 1
    assert (tmp_path / "chart.svg").read_text().startswith("<svg")
    assert "| GET 1 KiB, 32 connections |" in (tmp_path / "results.md").read_text()


@pytest.mark.component("compiler")
def test_measures_what_the_kernel_alone_asks(tmp_path: Path) -> None:
    names = ("get-1k", "get-10m", "upload-10m", "websocket-16k")
    chosen = [word for name in names for word in ("--scenario", name)]
    bench("--quick", "--rounds", "1", "--seconds", "0.2", *chosen, "--peers", "proxy,relay", "--out", str(tmp_path))
    facts = json.loads((tmp_path / "results.json").read_text())
    for scenario in names:
        measured = facts["scenarios"][scenario]["peers"]["relay"]
        assert measured["failure"] is None
        assert measured["median"] > 1


@pytest.mark.parametrize(
    "words", [("--scenario", "nonsense"), ("--peers", "apache"), ("--peers", "compiled", "--compiled", "/nonexistent")]
)
def test_says_what_it_does_not_know(words: tuple[str, ...]) -> None:
    done = bench(*words)
    assert done.returncode == 2
    assert words[-1] in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_it_started_ends_with_it(number: int) -> None:
    words = ("--quick", "--rounds", "1", "--seconds", "60", "--scenario", "get-1k", "--peers", "proxy,nginx")
    command = [sys.executable, str(ROOT / "scripts" / "bench"), *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: len(children(process.pid)) >= 2, "its servers run")
        started = children(process.pid)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 130
    assert not any(map(alive, started))


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the scripts can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that every account can enter, as nginx's workers must."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize("name", ["proxy", "nginx", pytest.param("haproxy", marks=pytest.mark.component("haproxy"))])
def test_peers_store_where_stored_responses_are_measured(scripts: None, open_path: Path, name: str) -> None:
    from benchmark.peers import BUILT, Place, known

    application = Application()
    application.pages["/1k"] = Page({"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, "x" * 1024)
    _, _, port = application.address.partition(":")
    server = known(BUILT)[name](Place(int(port), open_path, 0, None, None, cached=True), name)
    try:
        for _ in range(3):
            assert httpx.get(f"http://127.0.0.1:{server.port}/1k", timeout=PATIENCE).text == "x" * 1024
        asked = [one for one in application.asked if one.target == "/1k"]
        assert len(asked) == 1
    finally:
        server.stop()
        application.close()


STANDSTILL = 0.4


@pytest.fixture
def halting() -> Iterator[int]:
    """The port of a server that responds at once, but stands still for a while before its tenth response."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE)

    def serve() -> None:
        count = 0
        clients = [listener.accept()[0] for _ in range(2)]
        for client in clients:
            client.settimeout(PATIENCE)
        with clients[0], clients[1], contextlib.suppress(OSError):
            while True:
                for client in clients:
                    if not client.recv(4096):
                        return
                    count += 1
                    if count == 10:
                        time.sleep(STANDSTILL)  # a gateway that stands still is what this is about
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    thread.join()
    listener.close()


@pytest.mark.alone
def test_a_fixed_rate_charges_a_standstill_to_all(scripts: None, halting: int) -> None:
    """Requests that were due while the server stood still have waited, though only two of them could be sent."""
    from benchmark.load import HTTP_PROOF, Connection, close
    from benchmark.paced import Paced

    request, whole = b"GET / HTTP/1.1\r\n\r\n", len(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    socks = [socket.create_connection(("127.0.0.1", halting)) for _ in range(2)]
    connections = [Connection(sock, request, whole, HTTP_PROOF) for sock in socks]
    load = Paced(connections, 200, select.epoll())
    try:
        load.run(1.0)
    finally:
        close(connections)
    late = [latency for latency in load.latencies if latency > 0.1e9]
    assert len(load.latencies) == 201
    assert len(late) > 40


def test_a_machine_that_is_not_quiet_is_named(scripts: None) -> None:
    from benchmark.quiet import Quiet

    assert not Quiet(0.01, 0.0, 0.05).warning
    assert Quiet(0.3, 0.05, 0.05).warning.count("%") == 4
