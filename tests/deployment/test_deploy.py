"""scripts/deploy without systemd: two instances as plain processes on unix sockets, behind the gateway, under load."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT, Running, get, load, ports
from tests.waiting import until

DEPLOY = str(CHECKOUT / "scripts" / "deploy")
MARK = "MARK = {!r}"
pytestmark = [pytest.mark.drill, pytest.mark.timeout(240)]


@dataclass
class Installation:
    """A root as scripts/install would make it, with releases that share this interpreter's packages."""

    root: Path
    front: int
    admin: int

    @property
    def environ(self) -> dict[str, str]:
        foreign = ("ARAGORA_", "OPENAI_", "ANTHROPIC_", "GUNICORN_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return kept | {
            "ARAGORA_DATA_DIR": str(self.root / "data"),
            "ARAGORA_WORKERS": "2",
            "ARAGORA_LEASE_TTL": "1",
            "ARAGORA_DEMO_DELAY": "0.1",
            "ARAGORA_PRELOAD": "1",  # which HUP alone would never bring new code to
            "ARAGORA_GRACEFUL_TIMEOUT": "30",
        }

    def release(self, name: str) -> None:
        """The checkout's code with its own word in the build that /health tells."""
        place = self.root / "opt/aragora/releases" / name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True, timeout=60)
        (packages,) = place.glob("lib/python3*/site-packages")
        (packages / "shared.pth").write_text(f"{self.packages()}\n")
        for product in ("aragora", "proxy"):
            subprocess.run(["cp", "-r", CHECKOUT / product, packages / product], check=True, timeout=60)
        with (packages / "aragora/server/build.py").open("a") as source:
            source.write(f"\n# {name}\n")
        subprocess.run(["cp", "-r", CHECKOUT / "conf", place / "conf"], check=True, timeout=60)

    @staticmethod
    def packages() -> str:
        return next(path for path in sys.path if path.endswith("site-packages"))

    def link(self, name: str, release: str) -> None:
        (self.root / "opt/aragora" / name).symlink_to(f"releases/{release}")

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        where = ("--no-systemd", "--root", str(self.root), "--admin", f"127.0.0.1:{self.admin}")
        command = [sys.executable, DEPLOY, *where, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.environ)

    def build(self) -> str:
        return str(get(self.front, "/health").json()["build"])

    def serving(self) -> str:
        return (self.root / "run/aragora/current.sock").readlink().stem

    def running(self) -> list[str]:
        """The colours that have a process."""
        return sorted(path.stem for path in (self.root / "run/aragora").glob("*.pid"))

    @contextmanager
    def ended(self) -> Iterator[None]:
        """Afterwards no process of the installation writes to its root any more."""
        try:
            yield
        finally:
            for pidfile in (self.root / "run/aragora").glob("*.pid"):
                with suppress(ProcessLookupError):
                    group = os.getpgid(int(pidfile.read_text()))
                    os.killpg(group, signal.SIGKILL)
                    until(lambda group=group: not alive(group), "the end of an instance")


def alive(group: int) -> bool:
    """Whether a process group has any process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def stopped(worker: int) -> Iterator[None]:
    """A worker that stands still; its heartbeats go on, or on a slow machine its supervisor would replace it."""
    os.kill(worker, signal.SIGSTOP)
    files = [file for file in Path(f"/proc/{worker}/fd").iterdir() if "/wgunicorn-" in str(file.readlink())]
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(1):
            for file in files:
                os.utime(file, (time.monotonic(), time.monotonic()))  # as gunicorn's WorkerTmp does

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        os.kill(worker, signal.SIGCONT)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    """Blue serves the release "one" behind the gateway."""
    front, admin = ports(2)
    # a unix socket's path may not be longer than 107 bytes
    with tempfile.TemporaryDirectory(prefix="deploy-") as root:
        found = Installation(Path(root), front, admin)
        for directory in ("opt/aragora/releases", "run/aragora", "var/log/aragora", "data"):
            (found.root / directory).mkdir(parents=True)
        found.release("one")
        found.link("blue", "one")
        found.link("current", "one")
        socket = found.root / "run/aragora/blue.sock"
        (found.root / "run/aragora/current.sock").symlink_to(socket.name)
        home = found.root / "opt/aragora/blue"
        blue = (str(home / "bin/python"), "-m", "gunicorn", "-c", str(home / "conf/gunicorn.conf.py"))
        addresses = ("--bind", f"unix:{socket}", "--pid", str(socket.with_suffix(".pid")))
        gateway = (sys.executable, "-m", "proxy", "--upstream", f"unix:{socket.with_name('current.sock')}")
        listen = ("--bind", f"127.0.0.1:{front}", "--admin", f"127.0.0.1:{admin}", "--workers", "2")
        environ = {name: value for name, value in found.environ.items() if name.startswith("ARAGORA_")}
        with (
            found.ended(),
            Running(*blue, *addresses, cwd=found.root, log=tmp_path / "blue.log", **environ) as first,
            Running(*gateway, *listen, log=tmp_path / "gateway.log") as running,
        ):
            until(socket.exists, f"the socket\n{first.output()}")
            running.ready(front, "/ready")
            yield found


def test_new_code_and_the_way_back_lose_nothing(installed: Installation) -> None:
    installed.release("two")
    one = installed.build()
    with load(f"http://127.0.0.1:{installed.front}") as counts:
        deployed = installed.deploy("--release", "two")
        assert deployed.returncode == 0, deployed.stderr
        two = installed.build()
        assert (installed.serving(), installed.running()) == ("green", ["green"])
        back = installed.deploy("--rollback")
        assert back.returncode == 0, back.stderr
    print(f"\n{deployed.stdout}{counts.seen}")
    assert counts.lost == []
    assert counts.seen["watched"] >= 3
    assert two != one == installed.build()
    assert (installed.serving(), installed.running()) == ("blue", ["blue"])


def test_a_release_that_does_not_become_ready_changes_nothing(installed: Installation) -> None:
    one = installed.build()
    installed.release("bad")
    (module,) = (installed.root / "opt/aragora/releases/bad").glob("lib/*/site-packages/aragora/server/health.py")
    module.write_text(module.read_text().replace("ready = all(", "ready = not all("))
    failed = installed.deploy("--release", "bad", "--timeout", "3")
    assert failed.returncode == 1
    assert "was not ready within 3 s" in failed.stderr
    assert installed.build() == one
    assert (installed.serving(), installed.running()) == ("blue", ["blue"])
    assert "nothing was deployed before this" in installed.deploy("--rollback").stderr


@pytest.mark.long
def test_a_gateway_that_follows_in_part_is_moved_back(installed: Installation) -> None:
    one = installed.build()
    installed.release("two")
    workers = [worker["pid"] for worker in get(installed.admin, "/status.json").json()["workers"]]
    with stopped(workers[0]):
        failed = installed.deploy("--release", "two")
    assert failed.returncode == 1
    assert f"workers [{workers[0]}] of the gateway have not followed" in failed.stderr
    assert {installed.build() for _ in range(20)} == {one}
    assert (installed.serving(), installed.running()) == ("blue", ["blue"])


def test_impossible_command_fails_in_one_line(installed: Installation, tmp_path: Path) -> None:
    nowhere = tmp_path / "empty"
    nowhere.mkdir()
    for arguments, said in (
        (["--rollback"], "nothing was deployed before this"),
        (["--release", "missing"], "--release missing: there is none of that name, but one"),
        (["--root", str(nowhere)], "install first: scripts/install"),
        (["--rollback", "--admin", "127.0.0.1:1"], "127.0.0.1:1"),
    ):
        failed = installed.deploy(*arguments)
        assert failed.returncode == 1, arguments
        assert said in failed.stderr
        assert failed.stderr.startswith("deploy: ")
        assert installed.running() == ["blue"]
        assert installed.serving() == "blue"
    assert get(installed.front, "/ready").ok
