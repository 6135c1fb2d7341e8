"""`conf/compose/`: valid, closed where it should be, and in agreement with the application's and gateway's settings."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from aragora.settings import SETTINGS, load, unknown
from proxy.settings import load as load_gateway
from tests.conftest import program
from tests.deployment.compositions import COMPOSE, certificate, composition, services
from tests.deployment.echo import Echo
from tests.deployment.processes import CHECKOUT, Running, accepts, application, ports
from tests.waiting import until

pytestmark = pytest.mark.component("docker-compose")

FILES = {"gateway": ("compose.yaml",), "nginx": ("compose.yaml", "compose.nginx.yaml")}
OWN = ("gateway", "application", "migrate", "backup")


@pytest.fixture(scope="module", params=FILES)
def composed(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The front's name, and every service that starts."""
    found = services(*FILES[request.param])
    return request.param, {name: service for name, service in found.items() if not service.get("profiles")}


def test_only_the_front_is_published(composed: tuple[str, dict[str, Any]]) -> None:
    front, started = composed
    assert [name for name, service in started.items() if service.get("ports")] == [front]
    assert {name for name, service in started.items() if "edge" in service["networks"]} == {front, "application"}


def test_nothing_leads_to_the_databases_from_outside(composed: tuple[str, dict[str, Any]]) -> None:
    assert composition("compose.yaml")["networks"]["data"]["internal"] is True
    inside = {name for name, service in composed[1].items() if set(service["networks"]) == {"data"}}
    assert inside == {"migrate", "backup", "postgres", "redis"}
    assert "data" not in composed[1][composed[0]]["networks"]


def test_every_container_is_hardened_and_bounded(composed: tuple[str, dict[str, Any]]) -> None:
    for name, service in composed[1].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"] == 512, name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        # our own image brings the application's
        assert "healthcheck" in service or name == "application", name


def test_the_application_believes_the_front_and_nobody_else(composed: tuple[str, dict[str, Any]]) -> None:
    front, started = composed
    address = started[front]["networks"]["edge"]["ipv4_address"]
    assert started["application"]["environment"]["ARAGORA_FORWARDED_ALLOW_IPS"] == address


def test_variables_are_settings_and_secrets_come_from_files(composed: tuple[str, dict[str, Any]]) -> None:
    secret = {row.name for row in SETTINGS if row.secret}
    for name in OWN[1:]:
        service = composed[1][name]
        environ: dict[str, str] = service["environment"]
        assert not list(unknown(environ))
        assert not [variable for variable in environ if variable in secret - {"ARAGORA_REDIS_URL"}]
        assert "@" not in environ.get("ARAGORA_REDIS_URL", "")
        files = {value.rpartition("/")[2] for variable, value in environ.items() if variable.endswith("_FILE")}
        assert files == {given["source"] for given in service["secrets"]}


def test_stopping_leaves_time_for_the_drain(composed: tuple[str, dict[str, Any]]) -> None:
    drain = load({"ARAGORA_ENV": "production", "ARAGORA_API_TOKEN": "any"}).graceful_timeout
    assert _seconds(composed[1]["application"]["stop_grace_period"]) > drain


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(?:(\d+)m)?(\d+)s", text)
    assert found, text
    return int(found[1] or 0) * 60 + int(found[2])


@pytest.mark.component("openssl")
def test_the_gateway_is_content_with_its_file(tmp_path: Path) -> None:
    certificate(tmp_path)
    file = tmp_path / "gateway.toml"
    file.write_text((COMPOSE / "gateway.toml").read_text().replace("/run/secrets", str(tmp_path)))
    checked = subprocess.run(
        [sys.executable, "-m", "proxy", "check", str(file)], cwd=CHECKOUT, capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    settings = load_gateway({}, file)
    assert settings.upstream_keepalive <= load({}).keepalive
    assert settings.admin
    assert settings.admin.loopback
    gateway = services("compose.yaml")["gateway"]
    assert _seconds(gateway["stop_grace_period"]) > settings.graceful + 1
    assert gateway["tmpfs"] == ["/tmp:size=2g,mode=1777"]
    assert settings.spool_total + (settings.workers << 20) < 2 << 30, "bodies fit in /tmp"
    assert {port["target"] for port in gateway["ports"]} == {
        address.port for address in (*settings.bind, *settings.bind_plain)
    }


@pytest.mark.component("openssl")
@pytest.mark.skipif(os.geteuid() != 0, reason="a key is given away by root")
def test_the_page_makes_the_secrets_that_the_files_name(tmp_path: Path) -> None:
    """The first two blocks of the page, run as they stand, with Debian's name of the tool."""
    blocks = re.findall(r"```sh\n(.*?)```", (CHECKOUT / "docs/deployment/compose.md").read_text(), re.DOTALL)
    here = tmp_path / "conf" / "compose"
    shutil.copytree(COMPOSE, here)
    for block in blocks[:2]:
        script = block.replace("docker compose", "docker-compose").replace("sudo ", "")
        subprocess.run(["sh", "-eu", "-c", script], cwd=tmp_path, check=True, timeout=60, capture_output=True)
    named = re.findall(r"file: \./((?:secrets|tls)/[\w.]+)", (COMPOSE / "compose.yaml").read_text())
    made = {name: here / name for name in sorted(named)}
    assert all(path.exists() for path in made.values())
    assert {str(path.relative_to(here)) for path in here.glob("*/*")} == set(made)
    environ = {
        "DATABASE_URL_FILE": str(made["secrets/database_url"]),
        "ARAGORA_API_TOKEN_FILE": str(made["secrets/api_token"]),
    }
    settings = load(environ | {"ARAGORA_ENV": "production"})
    assert settings.database_url.startswith("postgresql://aragora:")
    assert len(settings.api_tokens[0]) > 32
    key = made["tls/aragora.key"].stat()
    assert (key.st_uid, key.st_gid, key.st_mode & 0o777) == (0, 10001, 0o440)


def test_nginx_differs_from_a_machine_s_own_in_its_places_only() -> None:
    places = {
        "127.0.0.1:8080": "application:8080",
        "127.0.0.1:8766": "application:8766",
        "/etc/ssl/certs/aragora.crt": "/run/secrets/tls_cert",
        "/etc/ssl/private/aragora.key": "/run/secrets/tls_key",
        "/var/log/nginx/aragora.log": "/dev/stdout",
    }
    own = _directives(CHECKOUT / "conf" / "nginx" / "aragora.conf")
    for place, here in places.items():
        own = [line.replace(place, here) for line in own]
    assert _directives(COMPOSE / "nginx.conf") == own


def _directives(file: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


@contextmanager
def nginx(directory: Path, http: int, ws: int) -> Iterator[tuple[int, int]]:
    """A real nginx with the composition's file, before an application on these ports; its plain and its TLS port."""
    plain, tls = ports(2)
    certificate(directory)
    text = (COMPOSE / "nginx.conf").read_text()
    moved = {
        "application:8080": f"127.0.0.1:{http}",
        "application:8766": f"127.0.0.1:{ws}",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443": f"listen 127.0.0.1:{tls}",
        "/run/secrets": str(directory),
        "/dev/stdout": str(directory / "access.log"),
    }
    for place, here in moved.items():
        assert place in text
        text = text.replace(place, here)
    (directory / "default.conf").write_text(text)
    main = directory / "nginx.conf"
    main.write_text(
        f"daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; include {directory}/default.conf; }}\n"
    )
    command = (program("nginx") or "nginx", "-p", str(directory), "-c", str(main))
    with Running(*command, log=directory / "log") as running:
        until(lambda: accepts(tls) or running.process.poll() is not None, "nginx listening")
        assert running.process.poll() is None, running.output()
        yield plain, tls


@pytest.fixture
def client(tmp_path: Path) -> Iterator[requests.Session]:
    """Trusts the certificate of this test's nginx."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(tmp_path / "tls_cert")
        yield session


@pytest.mark.component("nginx", "openssl")
def test_nginx_of_the_composition_serves_the_application(tmp_path: Path, client: requests.Session) -> None:
    with application(tmp_path) as (_app, http, ws), nginx(tmp_path, http, ws) as (plain, tls):
        moved = client.get(f"http://127.0.0.1:{plain}/api/debates?limit=1", allow_redirects=False, timeout=20)
        assert (moved.status_code, moved.headers["Location"]) == (301, "https://127.0.0.1/api/debates?limit=1")
        paths = ("/", "/healthz", "/health", "/ready", "/api/debates", "/metrics")
        statuses = {path: client.get(f"https://localhost:{tls}{path}", timeout=20).status_code for path in paths}
        assert statuses.pop("/metrics") == 404
        assert set(statuses.values()) == {200}
        channel = websocket.create_connection(
            f"wss://localhost:{tls}/ws", sslopt={"ca_certs": client.verify}, http_no_proxy=["localhost"], timeout=20
        )
        assert "connection_info" in channel.recv()
        channel.close()
        channel.shutdown()


@pytest.mark.component("nginx", "openssl")
def test_nginx_keeps_connections_and_passes_no_forged_field(tmp_path: Path, client: requests.Session) -> None:
    names = ("Proto", "For", "Host", "Ssl", "Protocol")
    forged = dict.fromkeys([f"X-Forwarded-{name}" for name in names], "forged")
    forged |= dict.fromkeys(("X-Real-IP", "X-Request-ID", "Forwarded"), "forged")
    with Echo() as echo, nginx(tmp_path, echo.port, echo.port) as (_plain, tls):
        for path in ("/api/debates", "/ws", "/health") * 3:
            answer = client.get(f"https://localhost:{tls}{path}", headers=forged, timeout=20)
            seen = answer.json()
            assert "forged" not in answer.text
            assert seen["X-Forwarded-Proto"] == "https"
            assert seen["X-Forwarded-For"] == seen["X-Real-IP"] == "127.0.0.1"
            assert seen["Host"] == f"localhost:{tls}"
            assert not {"Connection", "Forwarded", "X-Forwarded-Ssl"} & seen.keys()
        # one for all that goes to the API; a tunnel cannot be shared, so each handshake has its own
        assert echo.connections == 1 + 3
