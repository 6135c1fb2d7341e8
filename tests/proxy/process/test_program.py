"""`python -m proxy` itself, worker and all: the promises of the process kept in front of a real application."""

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.process.running import TinyGateway, customers
from tests.serving import serving
from tests.waiting import PATIENCE, until

Start = Callable[..., TinyGateway]


class Application(BaseHTTPRequestHandler):
    """Answers every GET with a short text."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def application() -> Iterator[int]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Application)) as server:
        yield server.server_port


@pytest.fixture
def gateway(application: int, start: Start, tmp_path: Path) -> TinyGateway:
    toml = f"""\
upstream = "127.0.0.1:{application}"
bind = "127.0.0.1:0"
admin = "127.0.0.1:0"
access_log = "{tmp_path}/access.log"
log_format = "json"
workers = 2
retry_wait = 0
"""
    gateway = start(toml=toml, program=("-m", "proxy"))
    gateway.wait_for("Booting worker", 2)
    gateway.address, gateway.admin = gateway.listening()[:2]
    until(lambda: len(page(gateway)["workers"]) == 2, "two workers")
    return gateway


def get(address: tuple[str, int], path: str = "/") -> bytes:
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}{path}", timeout=PATIENCE) as answer:
        content = answer.read()
    assert isinstance(content, bytes)
    return content


def page(gateway: TinyGateway) -> dict[str, list[dict[str, int]]]:
    found = json.loads(get(gateway.admin, "/status.json"))
    assert isinstance(found, dict)
    return found


def served(gateway: TinyGateway) -> float:
    """Requests that the application was sent, according to the metrics; scrapes are not among them."""
    text = get(gateway.admin, "/metrics").decode()
    return sum(float(count) for count in re.findall(r"upstream_(?:connects|reuses)_total{.*} (.*)", text))


def logged(*files: Path) -> list[dict[str, Any]]:
    """Lines of requests to the application."""
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if line["upstream"] != "admin"]


def test_requests_are_served_logged_and_counted_once(gateway: TinyGateway, tmp_path: Path) -> None:
    for number in range(10):
        assert get(gateway.address, f"/{number}?q=1") == b"hello"
    log = tmp_path / "access.log"
    until(lambda: len(logged(log)) >= 10, "the lines")
    records = logged(log)
    assert sorted(record["target"] for record in records) == [f"/{number}?q=1" for number in range(10)]
    assert {(record["status"], record["termination"]) for record in records} == {(200, "--")}
    until(lambda: served(gateway) == 10, "ten counted")
    assert get(gateway.admin, "/healthz") == b"ok\n"


def test_a_reload_reaches_every_worker_and_replaces_none(gateway: TinyGateway) -> None:
    before = [worker["pid"] for worker in page(gateway)["workers"]]
    gateway.configure(gateway.config.read_text().replace("retry_wait = 0", "retry_wait = 0\nmax_request_line = 100"))
    gateway.signal(signal.SIGHUP)
    gateway.wait_for("settings reloaded")

    def refused() -> bool:
        try:
            get(gateway.address, "/" + "x" * 200)
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 414
        return False

    until(lambda: all(refused() for _ in range(8)), "the new limit everywhere")
    assert [worker["pid"] for worker in page(gateway)["workers"]] == before


def test_rotated_logs_lose_no_line(gateway: TinyGateway, tmp_path: Path) -> None:
    log, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    for number in range(30):
        get(gateway.address, f"/{number}")
        if number == 15:
            log.rename(rotated)
            gateway.signal(signal.SIGUSR1)
            until(log.exists, "a new file")
    until(lambda: len(logged(log, rotated)) == 30, "all lines")
    until(lambda: get(gateway.address) and log.stat().st_size, "the new file is written to")


def test_an_upgrade_and_a_stop_fail_no_request(gateway: TinyGateway) -> None:
    def visit() -> None:
        assert get(gateway.address) == b"hello"

    with customers(visit) as seen:
        gateway.signal(signal.SIGUSR2)
        gateway.wait_for("Booting worker", 4)
        old = gateway.masters[0]
        new = until(lambda: child_master(old), "the new master")
        gateway.masters.append(new)
        os.kill(old, signal.SIGTERM)
        assert gateway.process.wait(PATIENCE) == 0
        gateway.wait_for("Master has been promoted")
        count = seen.served
        until(lambda: seen.served > count + 20, "requests after the upgrade")
    assert seen.wrong == []
    assert get(gateway.admin, "/healthz") == b"ok\n"


def child_master(master: int) -> int:
    """The child that has children of its own, or 0."""
    for child in Path(f"/proc/{master}/task/{master}/children").read_text().split():
        if Path(f"/proc/{child}/task/{child}/children").read_text().split():
            return int(child)
    return 0


def test_a_killed_worker_costs_its_own_connections_only(gateway: TinyGateway) -> None:
    victim = page(gateway)["workers"][0]["pid"]
    for _ in range(5):
        get(gateway.address)
    until(lambda: served(gateway) == 5, "an exchange is counted after its last byte is sent")
    os.kill(victim, signal.SIGKILL)
    gateway.wait_for("Booting worker", 3)
    for _ in range(5):
        assert get(gateway.address) == b"hello"
    until(lambda: len(page(gateway)["workers"]) == 2, "two workers")
    assert victim not in [worker["pid"] for worker in page(gateway)["workers"]]
    until(lambda: served(gateway) == 10, "all counted, the dead worker's too")
    assert gateway.end() == 0
