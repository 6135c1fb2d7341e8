"""`kill -HUP` and `kill -TERM` of both processes by their pid files, under load: counted, and nothing lost."""

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deployment.processes import GUNICORN, Counts, Running, application, gateway, get, load
from tests.waiting import until

FEW = {
    "ARAGORA_DEMO_DELAY": "0.1",
    "ARAGORA_LEASE_TTL": "1",
    "ARAGORA_GRACEFUL_TIMEOUT": "30",
    "ARAGORA_KEEPALIVE": "2",
}


def kill(pidfile: Path, number: int) -> int:
    """What `kill -NUMBER $(cat PIDFILE)` does; the process id."""
    pid = int(pidfile.read_text())
    os.kill(pid, number)
    return pid


def nothing_lost(counts: Counts) -> None:
    assert counts.lost == []
    assert counts.seen["watched"] > 3
    print(f"\n{counts.seen}")


@pytest.mark.drill
def test_hup_of_either_loses_nothing(tmp_path: Path) -> None:
    pidfile, front_pidfile = tmp_path / "application.pid", tmp_path / "gateway.pid"
    with (
        application(tmp_path, ARAGORA_PIDFILE=str(pidfile), **FEW) as (app, http, _ws),
        gateway(tmp_path, http, "--pidfile", str(front_pidfile)) as (front, port),
        load(f"http://127.0.0.1:{port}") as counts,
    ):
        kill(pidfile, signal.SIGHUP)
        until(lambda: app.output().count("Worker exiting") == 2, "the end of the old workers")
        kill(front_pidfile, signal.SIGHUP)
        until(lambda: "settings reloaded" in front.output(), "the gateway's reload")
    nothing_lost(counts)
    assert counts.seen["resumed"] > 0  # the application's workers told their watchers to come again


@pytest.mark.drill
def test_restart_behind_a_held_socket_loses_nothing(tmp_path: Path) -> None:
    """As systemd holds it; without, what waits in the socket unread when it is closed is reset by the kernel."""
    pidfile = tmp_path / "application.pid"
    environ = {"ARAGORA_PIDFILE": str(pidfile), "ARAGORA_DATA_DIR": str(tmp_path / "data"), "ARAGORA_WORKERS": "2"}

    with socket.create_server(("127.0.0.1", 0), backlog=512) as held, ExitStack() as running:
        http = held.getsockname()[1]

        def start(name: str) -> Running:
            command = (GUNICORN, "-c", "conf/gunicorn.conf.py", "--bind", f"fd://{held.fileno()}")
            log = tmp_path / f"{name}.log"
            return running.enter_context(Running(*command, log=log, pass_fds=[held.fileno()], **environ, **FEW))

        first = start("first")
        first.ready(http, "/ready")
        _, port = running.enter_context(gateway(tmp_path, http))
        with load(f"http://127.0.0.1:{port}") as counts:
            kill(pidfile, signal.SIGTERM)
            assert first.ended() == 0
            assert not pidfile.exists()
            start("second").ready(http, "/ready")
        nothing_lost(counts)
        assert counts.seen["resumed"] > 0


@pytest.mark.drill
def test_term_of_the_gateway_finishes_what_it_has(tmp_path: Path) -> None:
    pidfile = tmp_path / "gateway.pid"
    with (
        application(tmp_path, **FEW | {"ARAGORA_DEMO_DELAY": "0.5"}) as (_app, http, _ws),  # five seconds a debate
        gateway(tmp_path, http, "--pidfile", str(pidfile)) as (front, port),
        ThreadPoolExecutor(8) as threads,
    ):
        body = {"question": "Is this answered?", "agents": ["demo"] * 3, "rounds": 3, "early_stop": False}
        waits = [threads.submit(get, port, "/api/debates?wait=25", method="POST", json=body) for _ in range(8)]
        until(lambda: len(get(http, "/api/debates").json()["debates"]) == 8, "eight debates")
        assert not any(wait.done() for wait in waits)
        kill(pidfile, signal.SIGTERM)
        assert front.ended() == 0
        assert [wait.result().json()["status"] for wait in waits] == ["completed"] * 8
        assert not pidfile.exists()
