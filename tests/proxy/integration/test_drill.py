"""scripts/drill does everything at once, and accounts for every request."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.proxy.gateway import ROOT

pytestmark = [pytest.mark.component("openssl"), pytest.mark.component("pebble")]


def drill(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "drill"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


@pytest.mark.alone
def test_a_short_drill_explains_every_failure(tmp_path: Path) -> None:
    done = drill("--minutes", "0.1", "--rate", "8", "--workers", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    report = (tmp_path / "drill.md").read_text()
    assert "| unexplained failures | 0 | pass |" in report
    assert "| processes left after TERM | none | pass |" in report
    assert "1 deployments" in report or "2 deployments" in report
    assert "deployments" in (tmp_path / "drill.svg").read_text()


def test_a_drill_without_time_is_refused() -> None:
    done = drill("--minutes", "0")
    assert done.returncode == 2
    assert "--minutes 0" in done.stderr
