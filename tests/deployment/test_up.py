"""scripts/up from a clean clone: the whole way from nothing to a debate, and every way to fail on it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT, Running, accepts, get, ports
from tests.waiting import until

pytestmark = [
    pytest.mark.component("git"),
    pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="not a git checkout, so there is nothing to clone"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone of what is committed, installed once for all tests of this file."""
    root = tmp_path_factory.mktemp("clone")
    (root / "gitconfig").write_text("[safe]\n\tdirectory = *\n")  # a checkout of another user, as in containers
    subprocess.run(
        ["git", "clone", "--quiet", str(CHECKOUT), str(root / "aragora")],
        env=os.environ | {"GIT_CONFIG_GLOBAL": str(root / "gitconfig")},
        check=True,
        timeout=60,
    )
    checkout = root / "aragora"
    with up(checkout, "--help") as running:
        assert running.ended(240) == 0, running.output()
    assert "Installing into .venv" in running.output()
    yield checkout
    assert not left_behind(checkout)


def up(checkout: Path, *arguments: str, **environ: str) -> Running:
    """scripts/up without a terminal or standard input, on ports of its own."""
    log = checkout.parent / "up.log"
    return Running(str(checkout / "scripts" / "up"), *arguments, log=log, **{"ARAGORA_WORKERS": "2"} | environ)


def chosen_ports() -> tuple[list[str], list[int]]:
    """The four port flags, and their values."""
    numbers = ports(4)
    flags = ("--port", "--admin-port", "--app-port", "--ws-port")
    return [text for flag, number in zip(flags, numbers, strict=True) for text in (flag, str(number))], numbers


def left_behind(checkout: Path) -> list[str]:
    """Processes that work in the checkout; empty where the system has no /proc to tell."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(checkout):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_once_shows_a_debate_and_leaves_nothing_running(clone: Path) -> None:
    flags, numbers = chosen_ports()
    with up(clone, "--once", *flags) as running:
        assert running.ended() == 0, running.output()
    said = running.output()
    assert "Installing" not in said  # a second start uses what is there
    assert "\x1b[" not in said  # no colours without a terminal
    for step in (r"^Round 1$", r"^demo-1 \(proposer\)$", r"^demo-1 on demo-2, severity", r"^demo-2 votes for demo-"):
        assert re.search(step, said, re.MULTILINE), step
    assert re.search(
        r"^completed: consensus, demo-\d's answer, by 2 of 2 votes, confidence \d+%, \d of 2 rounds", said, re.MULTILINE
    )
    assert not any(accepts(number) for number in numbers)
    assert not left_behind(clone)


def test_both_stay_until_interrupted_and_then_drain(clone: Path) -> None:
    flags, numbers = chosen_ports()
    with up(clone, *flags) as running:
        until(lambda: "Console:" in running.output() or running.process.poll() is not None, "the console's address")
        (address,) = re.findall(r"Console: http://127\.0\.0\.1:(\d+)/", running.output())
        assert int(address) == numbers[0]
        assert get(numbers[0], "/").headers["Content-Type"].startswith("text/html")
        assert get(numbers[0], "/api/debates").json()["count"] >= 1
        running.signal(signal.SIGINT)
        assert running.ended() == 0, running.output()
    assert "Draining the gateway ... done" in running.output()
    assert "Draining the application ... done" in running.output()
    assert not left_behind(clone)


def test_ports_in_use_are_named_before_anything_starts(clone: Path) -> None:
    flags, numbers = chosen_ports()
    first, last = (socket.create_server(("127.0.0.1", number)) for number in (numbers[0], numbers[3]))
    with first, last, up(clone, "--once", *flags) as running:
        assert running.ended() == 1
    lines = running.output().splitlines()
    assert len(lines) == 2
    for line, number in zip(lines, (numbers[0], numbers[3]), strict=True):
        assert f"port {number} is in use" in line


def test_a_wrong_flag_ends_with_2_and_one_line(clone: Path) -> None:
    with up(clone, "--twice") as running:
        assert running.ended() == 2
    assert "unrecognized arguments: --twice" in running.output().splitlines()[-1]


def test_an_application_that_cannot_start_is_named_with_its_log(clone: Path) -> None:
    flags, _ = chosen_ports()
    with up(clone, "--once", *flags, ARAGORA_MAX_REQUESTS="many") as running:
        assert running.ended() == 1
    assert "scripts/up: application ended by itself" in running.output()
    assert "ARAGORA_MAX_REQUESTS" in running.output()
    assert "its log: var/log/application.log" in running.output()
    assert not left_behind(clone)


def test_failed_gateway_start_shows_log_and_drains_application(clone: Path) -> None:
    flags, _ = chosen_ports()
    entry = clone / "proxy" / "__main__.py"
    original = entry.read_text()
    entry.write_text("raise SystemExit('no gateway today')\n")
    try:
        with up(clone, "--once", *flags) as running:
            assert running.ended() == 1
    finally:
        entry.write_text(original)
    assert "scripts/up: gateway ended by itself" in running.output()
    assert "no gateway today" in running.output()
    assert "its log: var/log/gateway.log" in running.output()
    assert "Draining the application ... done" in running.output()
    assert not left_behind(clone)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process by /proc")
def test_a_part_that_dies_later_is_named_and_the_other_drained(clone: Path) -> None:
    flags, _ = chosen_ports()
    with up(clone, *flags) as running:
        until(lambda: "Console:" in running.output() or running.process.poll() is not None, "the console's address")
        os.kill(supervisor(running.process.pid, "gunicorn"), signal.SIGKILL)
        assert running.ended() == 1, running.output()
    assert "scripts/up: application ended by itself (signal SIGKILL)" in running.output()
    assert "its log: var/log/application.log" in running.output()
    until(lambda: not left_behind(clone), "the end of the killed supervisor's workers")


def supervisor(parent: int, name: str) -> int:
    """The child of `scripts/up` that runs this program."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and name in (process / "cmdline").read_text():
                return int(process.name)
        except OSError:
            continue
    raise AssertionError(f"no {name} under {parent}")


def test_a_failed_installation_says_so_and_counts_as_none(tmp_path: Path) -> None:
    for name in ("scripts/venv", "setup.cfg", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / name, tmp_path / name)
    shutil.copytree(CHECKOUT / "conf" / "requirements", tmp_path / "conf" / "requirements")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / ".venv")], check=True, timeout=60)
    for _ in range(2):
        with Running(str(tmp_path / "scripts" / "venv"), log=tmp_path / "venv.log") as running:
            assert running.ended(60) == 1
        assert "No module named pip" in running.output()
        assert "venv: pip failed: var/log/venv.log has the whole of it" in running.output()


def test_unusable_interpreter_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(CHECKOUT / "scripts" / "venv", tmp_path / "scripts")
    (tmp_path / "setup.cfg").touch()
    (tmp_path / "pyproject.toml").touch()
    shutil.copytree(CHECKOUT / "conf" / "requirements", tmp_path / "conf" / "requirements")
    too_old = 'case "$2" in *print*) echo 3.10.12;; *) exit 1;; esac'
    without_venv = 'case "$2" in *print*) echo 3.12.4;; *ensurepip*) exit 1;; esac'
    for body, fault in (
        ("exit 1", "does not start"),
        (too_old, "is Python 3.10.12, too old"),
        (without_venv, "is Python 3.12.4 without its venv module: apt-get install python3.12-venv"),
    ):
        interpreter = tmp_path / "python"
        interpreter.write_text(f"#!/bin/sh\n{body}\n")
        interpreter.chmod(0o755)
        venv = str(tmp_path / "scripts" / "venv")
        with Running(venv, log=tmp_path / "venv.log", PYTHON=str(interpreter)) as running:
            assert running.ended(60) == 1
        (line,) = running.output().splitlines()
        assert line.startswith(
            f"venv: Python 3.11 or newer with its venv module is needed: {interpreter} {fault}; install"
        )
        assert line.endswith("and name it: PYTHON=...")
