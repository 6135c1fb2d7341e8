"""What the page about security says is checked is checked, and the shipped files pass."""

import subprocess
import sys
from pathlib import Path

import pytest

from aragora.commands.exposure import gateway
from tests.deployment.pages import moved
from tests.deployment.processes import CHECKOUT


def risks(file: Path, *flags: str) -> str:
    """What `proxy check` says is broken of the rules in a file that works."""
    command = [sys.executable, "-m", "proxy", "check", str(file), *flags]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith("risk: "))


def test_the_gateway_says_what_breaks_a_rule(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('upstream = "127.0.0.1:8080"\nbind = "0.0.0.0:8000"\naccess_log = "off"\nadmin = "off"\n')
    found = risks(file)
    assert "public addresses without TLS" in found
    assert "rate: not set" in found
    assert "access_log is off" in found


@pytest.mark.component("openssl")
def test_the_shipped_file_breaks_none(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(moved((CHECKOUT / "conf" / "proxy.toml").read_text(), tmp_path))
    assert risks(file) == ""


def test_doctor_names_the_command_that_examines_a_broken_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("upstream = 7\n")
    (finding,) = gateway(file)
    assert finding.state == "failure"
    assert finding.mend == f"correct it: {sys.executable} -m proxy check {file}"
