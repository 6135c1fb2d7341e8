"""Start, stop and the death of workers, with real processes."""

import grp
import os
import pwd
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proxy.gateway import ROOT, alive
from tests.proxy.process.conftest import TOML
from tests.proxy.process.running import TINY, TinyGateway
from tests.waiting import PATIENCE, until

Start = Callable[..., TinyGateway]


def test_term_lets_requests_finish_and_exits_with_0(start: Start) -> None:
    gateway = start().ready()
    with gateway.waiting() as finish:
        gateway.signal(signal.SIGTERM)
        gateway.wait_for("Handling signal: term")
        assert finish() == "done\n"
        assert gateway.process.wait(PATIENCE) == 0
    with pytest.raises(ConnectionRefusedError):
        gateway.ask("who")


def test_term_waits_no_longer_than_graceful(start: Start) -> None:
    gateway = start("websocket_drain = 0\n", toml=TOML.replace("graceful = 60", "graceful = 0.5")).ready()
    with gateway.waiting():
        gateway.signal(signal.SIGTERM)
        assert gateway.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGQUIT])
def test_a_second_signal_ends_at_once(start: Start, second: int) -> None:
    gateway = start().ready()
    with gateway.waiting():
        gateway.signal(signal.SIGTERM)
        gateway.wait_for("Handling signal: term")
        gateway.signal(second)
        assert gateway.process.wait(PATIENCE) == 0


def test_int_ends_at_once(start: Start) -> None:
    gateway = start().ready()
    with gateway.waiting():
        gateway.signal(signal.SIGINT)
        assert gateway.process.wait(PATIENCE) == 0


def test_a_killed_worker_is_replaced_and_no_count_is_lost(start: Start) -> None:
    gateway = start("", toml=TOML.replace("workers = 1", "workers = 2")).ready(2)
    until(lambda: len(gateway.workers()) == 2, "two workers")
    before = gateway.workers()
    requests = [gateway.who() for _ in range(9)]
    total = gateway.metric('requests_total{code="2xx",method="GET"}')
    assert total >= len(requests)
    os.kill(before[0], signal.SIGKILL)
    gateway.wait_for("was sent SIGKILL")
    after = until(lambda: (found := gateway.workers()) != before and len(found) == 2 and found, "a new worker")
    assert set(after) & set(before) == {before[1]}
    gateway.who()
    assert gateway.metric('requests_total{code="2xx",method="GET"}') == total + 1
    assert gateway.metric("worker_starts_total") == 3
    assert {worker["slot"] for worker in [gateway.who() for _ in range(6)]} <= {0, 1}


def test_workers_are_added_and_removed_by_signal(start: Start) -> None:
    gateway = start().ready()
    gateway.signal(signal.SIGTTIN)
    until(lambda: len(gateway.workers()) == 2, "two workers")
    gateway.signal(signal.SIGTTOU)
    until(lambda: len(gateway.workers()) == 1, "one worker")


def test_winch_stops_the_workers_and_hup_brings_them_back(start: Start) -> None:
    gateway = start().ready()
    worker = gateway.who()["pid"]
    gateway.signal(signal.SIGWINCH)
    until(lambda: not alive(worker), "worker gone")
    assert alive(gateway.process.pid)
    gateway.signal(signal.SIGHUP)
    gateway.wait_for("Booting worker", 2)
    assert gateway.who()["pid"] != worker


@pytest.mark.parametrize(
    ("worker", "code", "part"),
    [
        ("tests.proxy.process.tiny:Unbootable", 3, "this worker cannot start"),
        (
            "tests.proxy.process.absent:Worker",
            1,
            "aragora-proxy: cannot load the worker: No module named",
        ),
    ],
)
def test_a_worker_that_cannot_start_ends_the_master(start: Start, worker: str, code: int, part: str) -> None:
    gateway = start(environ={"TINY_WORKER": worker})
    assert gateway.process.wait(PATIENCE) == code
    assert part in gateway.log
    assert gateway.log.count("Booting worker") <= 1


def test_workers_that_all_die_at_once_end_the_master(start: Start) -> None:
    gateway = start(environ={"TINY_WORKER": "tests.proxy.process.tiny:Fleeting"})
    assert gateway.process.wait(2 * PATIENCE) == 3
    assert "Reason: workers die right after their start" in gateway.log
    assert gateway.log.count("Booting worker") <= 8


def run_to_its_end(toml: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "proxy.toml"
    config.write_text(toml)
    return subprocess.run(
        [sys.executable, *TINY, "--config", str(config), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = run_to_its_end(TOML, tmp_path, "--bind", f"127.0.0.1:{port}")
    assert ended.returncode == 1
    assert ended.stderr == (
        f"aragora-proxy: cannot listen on 127.0.0.1:{port}: in use by another program; "
        "stop it or choose another address\n"
    )


@pytest.mark.parametrize(
    ("bind", "part"),
    [
        ("192.0.2.1:0", "not an address of this machine"),
        ("unix:/nowhere/x.sock", "no such directory"),
        (f"unix:{__file__}", "not a socket"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(bind: str, part: str, tmp_path: Path) -> None:
    ended = run_to_its_end(TOML, tmp_path, "--bind", bind)
    assert ended.returncode == 1
    assert part in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_mistake_in_the_file_is_one_line_and_exit_2(tmp_path: Path) -> None:
    ended = run_to_its_end(TOML + "holds = 3\n", tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == f"aragora-proxy: {tmp_path}/proxy.toml:8: holds: unknown setting; did you mean retry_wait?\n"


def test_a_second_start_with_the_same_pid_file_is_refused(start: Start, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    gateway = start(f'pidfile = "{pidfile}"\n').ready()
    assert int(pidfile.read_text()) == gateway.process.pid
    ended = run_to_its_end(TOML, tmp_path, "--pidfile", str(pidfile))
    assert ended.returncode == 1
    assert f"process {gateway.process.pid} is running" in ended.stderr
    assert gateway.end() == 0
    assert not pidfile.exists()


def test_a_unix_socket_is_made_private_and_not_stolen(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "front.sock"
    toml = TOML.replace('bind = "127.0.0.1:0"', f'bind = ["127.0.0.1:0", "unix:{path}"]')
    gateway = start(toml=toml).ready()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    ended = run_to_its_end(toml, tmp_path)
    assert ended.returncode == 1
    assert "in use by another program" in ended.stderr
    gateway.who()
    gateway.end()
    assert not path.exists()


def test_a_unix_socket_left_behind_is_taken_over(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "front.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    start(toml=TOML.replace('bind = "127.0.0.1:0"', f'bind = ["127.0.0.1:0", "unix:{path}"]')).ready()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_closed_standard_output_is_not_taken_by_a_socket(start: Start) -> None:
    gateway = start(before=("/bin/sh", "-c", 'exec "$@" >&- <&-', "sh")).ready()
    for number in (0, 1):  # libffi may have taken one, for its own file, before the gateway's code runs
        taken = Path(f"/proc/{gateway.who()['pid']}/fd/{number}").readlink()
        assert taken == Path("/dev/null") or taken.name.startswith("libffi.so")


def test_the_descriptor_limit_is_raised_and_reported_when_low(start: Start) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 600:
        pytest.skip("the hard limit is too low for this test")
    low = ("/bin/sh", "-c", 'ulimit -Sn 256; ulimit -Hn 600; exec "$@"', "sh")
    gateway = start(before=low).ready()
    assert gateway.who()["files"] == 600
    assert "limit of open files too low: 600 suffices for about 268 busy clients per worker, not 16384" in gateway.log
    roomy = start("max_connections = 100\n", before=low).ready()
    assert "limit of open files too low" not in roomy.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change user")
def test_workers_run_as_the_named_user(start: Start) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to other users
        directory = Path(name)
        directory.chmod(0o755)
        gateway = start(toml=TOML.replace('"off"', f'"{directory}/access.log"') + 'user = "nobody"\n').ready()
        facts = gateway.who()
        account = pwd.getpwnam("nobody")
        assert facts["users"] == [account.pw_uid] * 3
        assert facts["main_groups"] == [account.pw_gid] * 3
        assert facts["groups"] == [account.pw_gid]
        assert (directory / "access.log").stat().st_uid == account.pw_uid
        assert "workers run as root" not in gateway.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change group")
@pytest.mark.parametrize("user", ["", "nobody"])
def test_workers_are_in_the_named_group_and_not_in_root_s(start: Start, user: str) -> None:
    chosen = f'user = "{user}"\n' if user else ""
    facts = start(f'{chosen}group = "games"\n').ready().who()
    games = grp.getgrnam("games").gr_gid
    assert facts["users"] == [pwd.getpwnam(user or "root").pw_uid] * 3
    assert facts["main_groups"] == [games] * 3
    assert 0 not in facts["groups"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change user")
def test_modules_that_workers_cannot_load_are_told(start: Start, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    path = f"{ROOT}:{closed}"
    gateway = start('user = "nobody"\n', before=("env", f"PYTHONPATH={path}")).ready()
    assert f"workers may not read {closed}: " in gateway.log
    assert f"workers may not read {ROOT}" not in gateway.log


def test_usr1_begins_new_log_files(start: Start, tmp_path: Path) -> None:
    access, error = tmp_path / "access.log", tmp_path / "errors.log"
    gateway = start(f'access_log = "{access}"\nerror_log = "{error}"\n', toml=TOML.replace('access_log = "off"\n', ""))
    until(lambda: error.exists() and "Booting worker" in error.read_text(), "the worker")
    access.rename(tmp_path / "access.log.1")
    error.rename(tmp_path / "errors.log.1")
    gateway.signal(signal.SIGUSR1)
    until(lambda: access.exists() and error.exists(), "new files")
    gateway.signal(signal.SIGTERM)
    until(lambda: "Shutting down" in error.read_text(), "the new file is written to")
