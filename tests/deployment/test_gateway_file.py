"""conf/proxy.toml before the real application: what nginx's usual file serves, and what it forgets."""

import http.client
import json
import ssl
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.deployment.pages import moved
from tests.deployment.processes import CHECKOUT, Running, accepts, application, ports
from tests.waiting import until

NAME = "api.aragora.ai"
pytestmark = pytest.mark.component("openssl")


@dataclass
class Site:
    """The running pair: the gateway's ports, the application's, and the gateway's log."""

    secure: int
    plain: int
    http: int
    ws: int
    directory: Path

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.directory / "etc/ssl/certs/aragora.crt")

    def ask(
        self, path: str, method: str = "GET", body: str = "", **fields: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.secure, timeout=30, context=self.context)
        try:
            connection.request(method, path, body or None, {"Host": NAME, **fields})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def served_by(self, path: str) -> str:
        """Which address answered the last request for a path, as the access log has it."""
        log = self.directory / "access.log"

        def entries() -> list[dict[str, Any]]:
            whole = log.read_text().rpartition("\n")[0]
            return [entry for line in whole.splitlines() if (entry := json.loads(line))["target"] == path]

        return str(until(entries, f"a log line for {path}")[-1]["upstream"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    secure, plain, admin = ports(3)
    with application(directory, ARAGORA_URL=f"https://{NAME}") as (_, http_port, ws_port):
        addresses = {
            '"[::]:443"': f'"127.0.0.1:{secure}"',
            '"[::]:80"': f'"127.0.0.1:{plain}"',
            "127.0.0.1:9180": f"127.0.0.1:{admin}",
            "127.0.0.1:8080": f"127.0.0.1:{http_port}",
            "127.0.0.1:8766": f"127.0.0.1:{ws_port}",
        }
        file = directory / "proxy.toml"
        file.write_text(moved((CHECKOUT / "conf" / "proxy.toml").read_text(), directory, addresses))
        command = (sys.executable, "-m", "proxy", "--config", str(file), "--workers", "1", "--log-format", "json",
                   "--access-log", str(directory / "access.log"))  # fmt: skip
        with Running(*command, log=directory / "gateway.log") as running:
            until(lambda: running.process.poll() is not None or accepts(secure), running.output() or "it listens")
            assert running.process.poll() is None, running.output()
            yield Site(secure, plain, http_port, ws_port, directory)


def test_the_api_answers(site: Site) -> None:
    question = json.dumps({"question": "Should we adopt event sourcing?", "agents": ["demo", "demo"], "rounds": 1})
    response, body = site.ask("/api/debates", "POST", question, **{"Content-Type": "application/json"})
    assert response.status == 202, body
    assert json.loads(body)["success"] is True
    assert response.getheader("Strict-Transport-Security") == "max-age=86400"
    assert site.served_by("/api/debates") == f"127.0.0.1:{site.http}"


def test_web_sockets_go_to_their_own_address(site: Site) -> None:
    channel = websocket.create_connection(
        f"wss://localhost:{site.secure}/ws",
        sslopt={"ca_certs": str(site.directory / "etc/ssl/certs/aragora.crt"), "check_hostname": False},
        timeout=20,
        http_no_proxy=["localhost"],
    )
    channel.send(json.dumps({"type": "ping"}))
    assert json.loads(channel.recv())["type"]
    channel.close()
    channel.shutdown()
    assert site.served_by("/ws") == f"127.0.0.1:{site.ws}"


@pytest.mark.parametrize("path", ["/health", "/healthz", "/ready"])
def test_health_is_told(site: Site, path: str) -> None:
    response, _ = site.ask(path)
    assert response.status == 200
    assert site.served_by(path) == f"127.0.0.1:{site.http}"


def test_the_console_is_served(site: Site) -> None:
    response, body = site.ask("/")
    assert response.status == 200
    assert b"<html" in body


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/%6detrics"])
def test_metrics_are_kept_from_outside(site: Site, path: str) -> None:
    response, body = site.ask(path)
    assert (response.status, body) == (404, b"not here\n")


def test_plain_http_is_sent_to_https(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.plain, timeout=30)
    connection.request("GET", "/api/debates?limit=1", headers={"Host": NAME})
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status in (301, 308)
    assert (response.getheader("Location") or "").startswith(f"https://{NAME}")


def test_one_client_has_so_many_handshakes_and_websockets(site: Site) -> None:
    file = tomllib.loads((site.directory / "proxy.toml").read_text())
    (events,) = (route for route in file["route"] if route.get("path") == "/ws")
    connection = http.client.HTTPSConnection("127.0.0.1", site.secure, timeout=30, context=site.context)
    statuses = []
    for _ in range(5 * int(events["burst"])):
        connection.request("GET", "/ws", headers={"Host": NAME})
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
        if response.status == 429:
            break
    connection.close()
    assert statuses[0] != 429
    assert statuses[-1] == 429
    assert site.ask("/healthz")[0].status == 200, "other routes have a rate of their own, or none"
    assert file["max_client_websockets"]
