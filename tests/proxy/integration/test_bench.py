"""scripts/bench measures, reports and ends what it started."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proxy.gateway import ROOT

pytestmark = pytest.mark.component("nginx")


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "bench"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def test_measures_the_gateway_beside_nginx(tmp_path: Path) -> None:
    done = bench("--quick", "--rounds", "1", "--seconds", "0.2", "--scenario", "get-1k", "--scenario", "websocket-125",
                 "--peers", "proxy,nginx,bare", "--out", str(tmp_path))  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    facts = json.loads((tmp_path / "results.json").read_text())
    for scenario in ("get-1k", "websocket-125"):
        for peer in ("proxy", "nginx", "bare"):
            measured = facts["scenarios"][scenario]["peers"][peer]
            assert measured["failure"] is None
            assert 1 < measured["median"] < 5000
    assert (tmp_path / "chart.svg").read_text().startswith("<svg")
    assert "| GET 1 KiB, 32 connections |" in (tmp_path / "results.md").read_text()


@pytest.mark.parametrize("words", [("--scenario", "nonsense"), ("--peers", "apache")])
def test_says_what_it_does_not_know(words: tuple[str, str]) -> None:
    done = bench(*words)
    assert done.returncode == 2
    assert words[1] in done.stderr
    assert len(done.stderr.splitlines()) == 1
