"""scripts/loadtest drives what is shipped, and tells what it saw and what it missed."""

import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT, application

FEW = ("--users", "4", "--watchers", "4", "--debates", "2", "--seconds", "0.5")
TOKEN = "right-and-long-enough-to-be-a-token"


def loadtest(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CHECKOUT / "scripts" / "loadtest", *arguments],
        env={"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": "/nonexistent", **environ},
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """An application that wants a token."""
    own = {"ARAGORA_WORKERS": "1", "ARAGORA_DEMO_DELAY": "0", "ARAGORA_API_TOKEN": TOKEN}
    with application(tmp_path_factory.mktemp("application"), **own) as (_running, http, _ws):
        yield http


@pytest.mark.component("nginx")
@pytest.mark.component("openssl")
def test_two_fronts_side_by_side(tmp_path: Path) -> None:
    done = loadtest("--quick", "--workers", "1", "--fronts", "gateway,nginx", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "results.json").read_text())
    assert list(told["sites"]) == ["gateway", "nginx"]
    for site in told["sites"].values():
        counts, (values,) = site["counts"], site["rounds"]
        assert counts["debates"] == counts["completed"] == 2 * told["plan"]["debates"]
        assert counts["errors"] == counts["gaps"] == counts["repeats"] == 0
        assert counts["requests"] > told["plan"]["users"]
        assert counts["events"] > counts["debates"]
        assert counts["messages"] >= counts["events"]
        assert 0 < values["api_p50_ms"] <= values["api_p95_ms"] <= values["api_p99_ms"]
        assert values["delivered_p50_ms"] <= values["delivered_p99_ms"]
        for part in ("front", "application"):
            assert values[f"{part}_us_per_request"] > 10
            assert values[f"{part}_ms_per_debate"] > 0
            assert values[f"{part}_mib"] > 1
        assert values["front_us_per_message"] > 0
    page = (tmp_path / "results.md").read_text()
    for shown in ("| API calls |", "| event, stored to seen, p99 |", "| debates completed | 12 | 12 |"):
        assert shown in page
    for picture, shape in (("chart.svg", "rect"), ("latencies.svg", "polyline")):
        drawn = ET.parse(tmp_path / picture).getroot()
        assert len(drawn.findall(f".//{{http://www.w3.org/2000/svg}}{shape}")) >= 4


def test_a_service_that_runs_already(port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{port}"
    done = loadtest("--quick", "--url", url, *FEW, "--out", str(tmp_path), ARAGORA_API_TOKEN=TOKEN)
    assert done.returncode == 0, done.stdout + done.stderr
    (site,) = json.loads((tmp_path / "results.json").read_text())["sites"].values()
    assert site["counts"]["completed"] == site["counts"]["debates"] == 4
    assert site["counts"]["events"] > 0
    assert "front_us_per_request" not in site["rounds"][0]


def test_what_fails_is_counted_and_told(port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{port}"
    done = loadtest("--quick", "--url", url, *FEW, "--out", str(tmp_path), ARAGORA_API_TOKEN="wrong")
    assert done.returncode == 1, done.stdout + done.stderr
    (site,) = json.loads((tmp_path / "results.json").read_text())["sites"].values()
    assert site["counts"]["completed"] == 0
    assert site["counts"]["errors"] >= 4
    assert "GET /api/agents/availability: 401" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--fronts", "gateway,apache"), "--fronts apache: not one of gateway, nginx, caddy"),
        (("--watchers", "3", "--debates", "4"), "--watchers 3: each of 4 debates needs one"),
        (("--seconds", "600"), "argument --seconds: 600 is not a number from 0.5 to 60"),
        (("--users", "many"), "argument --users: many is not a number from 1 to 1000"),
        (("--url", "https://["), "--url https://[: write http://HOST:PORT or https://HOST"),
        (("--url", "example.org"), "--url example.org: write http://HOST:PORT or https://HOST"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], told: str) -> None:
    done = loadtest(*arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(told)
