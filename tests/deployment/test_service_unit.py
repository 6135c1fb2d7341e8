"""The guide's units for another application, on a machine that has booted: its files and commands as they stand."""

import os
from collections.abc import Iterator

import pytest

from tests.deployment.machine import Machine, machine
from tests.deployment.pages import blocks
from tests.deployment.processes import CHECKOUT
from tests.waiting import until

SECTION = "Under systemd, with socket activation"
APPLICATION = """
[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /etc/systemd 8080
"""

pytestmark = [
    *map(pytest.mark.component, ("machine", "systemd", "curl")),
    pytest.mark.skipif(
        os.environ.get("ARAGORA_BARE_ROOTS") != "1", reason="boots a machine, in minutes: ARAGORA_BARE_ROOTS=1"
    ),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the page's files, and the gateway where its unit has it."""
    overlay = tmp_path_factory.mktemp("overlay")
    files = [block for block in blocks(CHECKOUT / "docs/howto/run-the-gateway.md") if block.section == SECTION]
    for block in files:
        if block.text.startswith("# /"):
            place = overlay / block.text.splitlines()[0].removeprefix("# /")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block.text)
    (overlay / "etc/systemd/system/application.service").write_text(APPLICATION)
    (overlay / "opt").mkdir()
    (overlay / "opt/gateway").symlink_to(CHECKOUT / ".venv")
    with machine(overlay) as running:
        yield running


def fetch(host: Machine, path: str) -> str:
    return host.run(
        "curl", "--silent", "--max-time", "30", "--write-out", "%{http_code}", f"http://127.0.0.1{path}"
    ).stdout


def journal(host: Machine) -> str:
    return host.run("journalctl", "--unit=proxy.service", "--no-pager", "--output=cat").stdout


def commands() -> list[str]:
    (block,) = (
        block for block in blocks(CHECKOUT / "docs/howto/run-the-gateway.md", "sh")
        if block.section == SECTION and "systemctl" in block.text
    )  # fmt: skip
    return [line.partition("#")[0].strip() for line in block.text.splitlines()]


def test_the_units_serve_reload_upgrade_and_stop(host: Machine) -> None:
    host.run("systemctl", "start", "application.service")
    *install, status, reload = commands()
    for line in install:
        host.run("sh", "-c", line)
    until(lambda: fetch(host, "/system.conf").endswith("200"), "the application, through the gateway")
    assert "aragora-proxy " in host.run("sh", "-c", status).stdout
    assert host.unit("proxy.service", "StatusText").startswith("aragora-proxy ")
    assert host.unit("proxy.service", "User") == "www-data"
    for place in ("/run/aragora-proxy", "/var/lib/aragora-proxy", "/var/log/aragora-proxy"):
        assert host.run("stat", "--format=%U", place).stdout == "www-data\n"
    access_log = ("cat", "/var/log/aragora-proxy/access.log")
    until(lambda: "GET /system.conf" in host.run(*access_log).stdout, "the request in the access log")
    assert "127.0.0.1:8080" in host.run("/opt/gateway/bin/aragora-proxy", "status").stdout

    host.run("sh", "-c", "echo 'retry_wait = \"1s\"' >>/etc/gateway.toml")
    host.run("sh", "-c", reload)
    host.run("sh", "-c", "echo 'nonsense = 1' >>/etc/gateway.toml")
    assert host.run("sh", "-c", reload, check=False).returncode != 0
    assert "nonsense: unknown setting" in journal(host)
    host.run("sed", "-i", "/nonsense/d", "/etc/gateway.toml")

    old = host.unit("proxy.service", "MainPID")
    host.run("kill", "-USR2", old)
    until(lambda: journal(host).count("aragora-proxy 0") == 2, "the successor's first line")
    host.run("kill", "-TERM", old)
    until(
        lambda: host.unit("proxy.service", "MainPID") not in (old, "0"), "systemd takes the successor for the gateway"
    )
    until(lambda: host.run("kill", "-0", old, check=False).returncode != 0, "the end of the old master")
    assert host.unit("proxy.service", "ActiveState") == "active"
    assert fetch(host, "/system.conf").endswith("200")

    host.run("systemctl", "stop", "proxy.service", "proxy.socket")
    assert host.unit("proxy.service", "Result") == "success", journal(host)


def test_a_master_that_hangs_is_restarted(host: Machine) -> None:
    host.run("systemctl", "start", "application.service", "proxy.socket")
    host.run("mkdir", "-p", "/run/systemd/system/proxy.service.d")
    host.run("sh", "-c", "printf '[Service]\\nWatchdogSec=3\\n' >/run/systemd/system/proxy.service.d/soon.conf")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "proxy.service")
    old = host.unit("proxy.service", "MainPID")
    host.run("kill", "-STOP", old)
    until(lambda: host.unit("proxy.service", "MainPID") not in (old, "0"), "another master")
    until(lambda: fetch(host, "/system.conf").endswith("200"), "it serves")
    assert host.unit("proxy.service", "NRestarts") == "1"


def test_one_command_installs_a_gateway_that_serves(host: Machine) -> None:
    host.run("systemctl", "start", "application.service")
    host.run("systemctl", "stop", "proxy.service", "proxy.socket")
    (command,) = (
        line
        for block in blocks(CHECKOUT / "docs/howto/run-the-gateway.md", "sh")
        for line in block.text.splitlines()
        if "install-service" in line and "--now" in line
    )
    host.run("sh", "-c", command.partition("#")[0])
    until(lambda: fetch(host, "/system.conf").endswith("200"), "the application, through the gateway")
    assert host.unit("aragora-proxy.service", "User") == "aragora-proxy"
    assert host.unit("aragora-proxy.service", "StatusText").startswith("aragora-proxy ")
    for place in ("/run/aragora-proxy", "/var/lib/aragora-proxy", "/var/log/aragora-proxy"):
        assert host.run("stat", "--format=%U", place).stdout == "aragora-proxy\n"
    access_log = ("cat", "/var/log/aragora-proxy/access.log")
    until(lambda: "GET /system.conf" in host.run(*access_log).stdout, "the request in the access log")
    assert "127.0.0.1:8080" in host.run("/opt/gateway/bin/aragora-proxy", "status").stdout
    deploy = ("deploy", "docs", "--target", "127.0.0.1:8080", "--host", "docs.example")
    host.run("/opt/gateway/bin/aragora-proxy", *deploy)

    old = host.unit("aragora-proxy.service", "MainPID")
    host.run("systemctl", "reload", "aragora-proxy.service")
    host.run("systemctl", "restart", "aragora-proxy.service")
    until(lambda: fetch(host, "/system.conf").endswith("200"), "it serves again")
    assert host.unit("aragora-proxy.service", "MainPID") not in (old, "0")
    assert "docs.example" in host.run("/opt/gateway/bin/aragora-proxy", "list").stdout
    assert host.run("systemctl", "is-enabled", "aragora-proxy.socket").stdout == "enabled\n"
    host.run("systemctl", "stop", "aragora-proxy.service", "aragora-proxy.socket")
    assert host.unit("aragora-proxy.service", "Result") == "success"
