"""conf/systemd and its neighbours, as far as they can be judged without starting them."""

import re
import subprocess
from pathlib import Path

import pytest

from aragora.settings import load
from proxy.process.listeners import Role
from proxy.settings import Settings
from tests.conftest import program
from tests.deployment.processes import CHECKOUT

CONF = CHECKOUT / "conf"
SERVICES = sorted(path.name for path in (CONF / "systemd").glob("*.service"))
MOST_EXPOSURE = 2.5


def values(unit: str, key: str) -> list[str]:
    """Every value of a key of a unit, in order."""
    text = (CONF / "systemd" / unit).read_text()
    return re.findall(rf"^{re.escape(key)}=(.*)$", text, re.MULTILINE)


@pytest.mark.component("systemd")
@pytest.mark.parametrize("unit", SERVICES)
def test_services_are_little_exposed(unit: str) -> None:
    analyze = program("systemd-analyze") or ""
    said = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(CONF / "systemd" / unit)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
    assert exposure, said.stderr
    assert float(exposure[1]) <= MOST_EXPOSURE


def test_systemd_waits_longer_than_a_drain_takes() -> None:
    graceful = load({"ARAGORA_ENV": "production", "ARAGORA_API_TOKEN": "not-a-secret"}).graceful_timeout
    for unit in ("aragora.service", "aragora@.service"):
        assert int(values(unit, "TimeoutStopSec")[0]) > graceful + 5
    assert int(values("aragora-gateway.service", "TimeoutStopSec")[0]) > Settings().graceful + 5


def test_blue_green_units_differ_in_addresses_only() -> None:
    def hardening(unit: str) -> str:
        return (CONF / "systemd" / unit).read_text().partition("UMask=")[2]

    assert hardening("aragora.service") == hardening("aragora@.service")
    for key in ("Environment", "EnvironmentFile", "KillMode", "LimitNOFILE", "User", "Restart"):
        assert values("aragora.service", key) == values("aragora@.service", key)
    (command,) = values("aragora@.service", "ExecStart")
    assert command.endswith(" --pid /run/aragora/%i.pid --bind unix:/run/aragora/%i.sock")


def test_commands_and_services_have_the_same_settings() -> None:
    text = (CONF / "aragora-service").read_text()
    *told, address = re.findall(r"^export (\S+)$", text, re.MULTILINE)
    assert {*told, "ARAGORA_ACCESS_LOG=/var/log/aragora/access.log"} == set(values("aragora@.service", "Environment"))
    assert values("aragora-backup.service", "Environment") == told
    assert values("aragora@.service", "EnvironmentFile") == [f"-{re.findall('^file=(.*)$', text, re.MULTILINE)[0]}"]
    for unit in ("aragora-local.socket", "aragora.socket"):
        assert address.removeprefix("ARAGORA_URL=http://") == values(unit, "ListenStream")[0]


def test_the_gateway_gets_both_ports_by_name() -> None:
    sockets = values("aragora-gateway.service", "Sockets")[0].split()
    named = {values(unit, "FileDescriptorName")[0]: values(unit, "ListenStream") for unit in sockets}
    assert named == {"https": ["443"], "plain": ["80"]}
    assert Role.ADMIN.value not in named
    assert all(values(unit, "Service") == ["aragora-gateway.service"] for unit in sockets)


def test_sessions_and_services_may_open_as_many_files() -> None:
    lines = [line.split() for line in (CONF / "limits.conf").read_text().splitlines() if not line.startswith("#")]
    assert lines == [["aragora", kind, "nofile", "65535"] for kind in ("soft", "hard")]
    for unit in ("aragora.service", "aragora@.service", "aragora-gateway.service"):
        assert values(unit, "LimitNOFILE") == ["65535"]


@pytest.mark.component("logrotate")
def test_logrotate_understands_its_file(tmp_path: Path) -> None:
    text = (CONF / "logrotate" / "aragora").read_text()
    changes = {"/var/log/aragora": str(tmp_path), "/run/aragora": str(tmp_path)}
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "aragora"
    # the account need not exist on the machine that runs the tests
    file.write_text(re.sub(r"^ +(su|create).*\n", "", text, flags=re.MULTILINE))
    command = [program("logrotate") or "", "--debug", "--state", str(tmp_path / "state"), str(file)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert said.returncode == 0
    assert "error" not in said.stderr
    assert f"rotating pattern: {tmp_path}/*.log" in said.stderr
