"""The tutorial, followed on a machine with systemd and an authority of its own."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.machine import Machine, machine
from tests.deployment.pages import Block, blocks
from tests.deployment.processes import CHECKOUT
from tests.proxy.authority import Authority
from tests.waiting import until

PAGE = CHECKOUT / "docs" / "tutorials" / "first-application.md"
DOMAIN = "localhost"
"""The one name that leads here without a DNS of our own."""
PEBBLE = {
    "listenAddress": "127.0.0.1:14000",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/root/ca/pebble.crt",
    "privateKey": "/root/ca/pebble.key",
    "httpPort": 80,
    "tlsPort": 443,
}

pytestmark = [*map(pytest.mark.component, ("machine", "systemd", "pebble", "curl")), pytest.mark.timeout(300)]


def section(name: str, kind: str) -> list[Block]:
    return [block for block in blocks(PAGE, kind) if block.section == name]


def files() -> dict[str, str]:
    """What the page's steps write, by path."""
    steps = [block for block in blocks(PAGE) if re.match(r"# /", block.text)]
    return {block.text.splitlines()[0].removeprefix("# "): block.text for block in steps}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine as step 1 leaves it: this environment's programs in the places of those that pip would install."""
    overlay = tmp_path_factory.mktemp("overlay")
    for place, names in {"shop": ("gunicorn", "uvicorn"), "gateway": ("aragora-proxy",)}.items():
        programs = overlay / "opt" / place / "bin"
        programs.mkdir(parents=True)
        for name in names:
            (programs / name).symlink_to(Path(sys.executable).with_name(name))
    authority = overlay / "root" / "ca"
    authority.mkdir(parents=True)
    Authority(authority).issue("127.0.0.1", file="pebble")
    (authority / "pebble.json").write_text(json.dumps({"pebble": PEBBLE}))
    with machine(overlay) as running:
        running.run("mkdir", "-p", "/etc/ssl/local")
        running.run("cp", "/root/ca/test-authority.pem", "/etc/ssl/local/ca.crt")
        running.run(
            "systemd-run", "--unit=pebble", "--setenv=PEBBLE_VA_NOSLEEP=1", "pebble", "-config", "/root/ca/pebble.json"
        )
        yield running


def write(host: Machine, path: str, text: str) -> None:
    command = host.command("sh", "-c", f'mkdir -p "$(dirname {path})" && cat >{path}')
    subprocess.run(command, input=text, text=True, check=True, timeout=30)


def test_the_steps_take_six_commands() -> None:
    steps = [line for block in blocks(PAGE, "sh") for line in block.text.splitlines()]
    assert len(steps) == 6
    assert steps[3] == "sudo /opt/gateway/bin/pip install aragora-gateway"


def test_application_and_gateway_serve_https_at_boot(host: Machine) -> None:
    (local,) = section("With a local authority", "toml")
    for path, text in files().items():
        more = local.text if path.endswith(".toml") else ""
        more = more.replace("https://ca.internal.example/acme/acme/directory", "https://127.0.0.1:14000/dir")
        more = more.replace("/etc/ssl/certs/internal-ca.crt", "/etc/ssl/local/ca.crt")
        write(host, path, (text + more).replace("app.example.com", DOMAIN))
    until(lambda: host.run("curl", "-sk", "https://127.0.0.1:15000/roots/0", check=False).stdout, "the authority")
    root = host.run("curl", "-sk", "https://127.0.0.1:15000/roots/0").stdout
    write(host, "/root/ca/root.pem", root)
    start, ask = section("4. Start both, now and at every boot", "sh")[0].text.splitlines()
    host.run(*start.removeprefix("sudo ").split())
    command = [*ask.replace("app.example.com", DOMAIN).split(), "--silent", "--cacert", "/root/ca/root.pem"]

    def served() -> str:
        assert "no certificate for" not in host.run("journalctl", "-u", "aragora-proxy", "--no-pager").stdout
        return host.run(*command, check=False).stdout

    said = json.loads(until(served, "an answer over a certificate of the authority"))
    assert said == {"client": "127.0.0.1", "secure": True, "url": f"https://{DOMAIN}/"}
    for unit in ("shop", "aragora-proxy"):
        assert host.run("systemctl", "is-enabled", unit).stdout == "enabled\n"
        assert host.unit(unit, "User") == unit  # an account made for it


def test_commands_of_the_table_work(host: Machine) -> None:
    text = PAGE.read_text().partition("## From here on")[2].partition("\n## ")[0]
    commands = [code.removeprefix("sudo ") for code in re.findall(r"`([^`]+)`", text)]
    shown = host.run(*commands[0].split(), "--count", "1").stdout
    assert "127.0.0.1:8080" in shown
    assert "good" in host.run(*commands[1].split()).stdout
    before = host.unit("aragora-proxy", "MainPID")
    host.run(*commands[2].split())
    host.run("systemctl", "reload", "shop")
    assert host.unit("aragora-proxy", "MainPID") == before
    write(host, "/etc/aragora-proxy.toml", files()["/etc/aragora-proxy.toml"] + "bnd = 1\n")
    refused = host.run(*commands[2].split(), check=False)
    assert refused.returncode != 0
    assert "bnd: unknown setting" in host.journal()


@pytest.mark.parametrize("name", ["Django instead", "FastAPI instead"])
def test_other_frameworks_start_as_written(name: str, host: Machine) -> None:
    (unit,) = section(name, "ini")
    program, *arguments = unit.text.strip().removeprefix("ExecStart=").split()
    known = host.run(program, "--help").stdout
    assert [flag for flag in arguments if flag.startswith("--") and flag not in known] == []
