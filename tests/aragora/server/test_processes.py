"""What only whole processes show: counting over workers and deaths, refusals at start, reload, lost parts."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.aragora.server.servers import CHECKOUT, PATIENCE, Server, running
from tests.ports import ports
from tests.waiting import until


def test_any_worker_reports_totals_that_survive_deaths(tmp_path: Path) -> None:
    name = 'aragora_http_requests_total{method="GET",route="/health",status="200"}'
    with running("gunicorn", tmp_path, ARAGORA_WORKLOAD="2") as server:
        until(lambda: server.metric("aragora_workers ") == 2)
        for sent in range(1, 21):
            # A connection each, so that both workers serve some.
            assert requests.get(f"{server.base}/health", timeout=10).ok
            if sent % 10 == 0:
                until(lambda sent=sent: server.metric(name) == sent)  # a worker counts after it has answered
                before = set(server.workers())
                os.kill(min(before), signal.SIGKILL)
                until(lambda before=before: len(set(server.workers()) - before) == 1 and len(server.workers()) == 2)
                until(lambda: server.metric("aragora_workers ") == 2)
        assert server.metric(name) == 20
        assert server.metric("aragora_worker_connections ") == 2000
        assert len(list((server.data / "metrics").glob("*.slot"))) <= 3


def test_production_without_a_token_does_not_start(tmp_path: Path) -> None:
    for kind in ("gunicorn", "uvicorn"):
        directory = tmp_path / kind
        directory.mkdir()
        server = Server(kind, directory, ARAGORA_ENV="production")
        try:
            assert server.process.wait(PATIENCE) != 0
            assert "ARAGORA_API_TOKEN" in server.log.read_text()
        finally:
            server.close()


def test_new_code_is_served_without_refusing_a_connection(tmp_path: Path) -> None:
    package = tmp_path / "source"
    shutil.copytree(CHECKOUT / "aragora", package / "aragora")
    (port,) = ports(1)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ARAGORA_")}
    environ |= {"ARAGORA_DATA_DIR": str(tmp_path / "data"), "ARAGORA_BIND": f"127.0.0.1:{port}"}
    code = "from aragora import settings; from aragora.server import dev; dev.serve(settings.load())"
    log = tmp_path / "log"
    with log.open("wb") as output:
        running_server = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=package,
            env=environ | {"PYTHONPATH": str(package)},
            stdout=output,
            stderr=output,
        )
    try:
        until(lambda: b"development server" in log.read_bytes())

        def build() -> str:
            return str(requests.get(f"http://127.0.0.1:{port}/health", timeout=60).json()["build"])

        before = build()
        with (package / "aragora" / "server" / "build.py").open("a") as source:
            source.write("\n# changed\n")
        until(lambda: build() != before)
        assert b"build.py changed" in log.read_bytes()
    finally:
        running_server.terminate()
        running_server.wait(20)


@pytest.mark.component("redis")
def test_a_lost_redis_is_told_and_survived(tmp_path: Path) -> None:
    (port,) = ports(1)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
            stdout=subprocess.DEVNULL,
        )

    redis = start()
    try:
        url = f"redis://127.0.0.1:{port}/0"
        with running("uvicorn", tmp_path / "served", ARAGORA_REDIS_URL=url) as server:
            assert server.get("/ready").json()["checks"]["redis"]["ok"]
            redis.kill()
            redis.wait()
            until(lambda: server.get("/ready").status_code == 503)
            lost = server.get("/ready").json()["checks"]["redis"]
            assert lost == {"ok": False, "detail": "lost; changes are found by polling"}
            assert server.get("/healthz").ok
            assert server.finished()["status"] == "completed"
            redis = start()
            until(lambda: server.get("/ready").status_code == 200)
    finally:
        redis.kill()
        redis.wait()
