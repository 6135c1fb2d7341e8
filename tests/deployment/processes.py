"""Real processes for these tests: started in a group of their own, ended by it, with nothing left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from tests.ports import ports
from tests.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 40.0
# not `python -m gunicorn`: USR2 starts argv again, and run as a file in its package gunicorn shadows the library's http
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))


def accepts(port: int) -> bool:
    """Whether anything takes connections on that port."""
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def get(port: int, path: str, **options: Any) -> requests.Response:
    """One request on a connection of its own, whatever proxy the environment names."""
    with requests.Session() as session:
        session.trust_env = False
        method, patience = options.pop("method", "GET"), options.pop("patience", 30)
        return session.request(method, f"http://127.0.0.1:{port}{path}", timeout=patience, **options)


class Running:
    """A process and all its children. Leaving the `with` kills what a test has not ended itself."""

    def __init__(
        self, *command: str, cwd: Path = CHECKOUT, log: Path, pass_fds: Sequence[int] = (), **environ: str
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=_environment() | environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ready(self, port: int, path: str = "/healthz") -> None:
        """Wait until it answers there; a process that has ended instead fails with its log."""

        def answers() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output()}"
            try:
                return get(port, path).ok
            except (requests.ConnectionError, requests.Timeout):
                return False

        until(answers, f"an answer from port {port}\n{self.output()}")

    def ended(self, seconds: float = WAIT_SECONDS) -> int:
        """Its exit code, once it has ended."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s:\n{self.output()}") from None

    def left_behind(self) -> bool:
        """Whether any process of its group is still there."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def output(self) -> str:
        return self.log.read_text(errors="replace")


def _environment() -> dict[str, str]:
    """This process' environment without what would reach into the processes under test."""
    foreign = ("ARAGORA_", "OPENAI_", "ANTHROPIC_", "GUNICORN_", "COV_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    kept.pop("DATABASE_URL", None)
    kept.pop("FORWARDED_ALLOW_IPS", None)
    return kept


@contextmanager
def application(
    directory: Path, *arguments: str, cwd: Path = CHECKOUT, **environ: str
) -> Iterator[tuple[Running, int, int]]:
    """The application by its own configuration file, with its HTTP and its WebSocket port."""
    http, ws = ports(2)
    where = {
        "ARAGORA_BIND": f"127.0.0.1:{http}",
        "ARAGORA_WS_BIND": f"127.0.0.1:{ws}",
        "ARAGORA_DATA_DIR": str(directory / "data"),
        "ARAGORA_WORKERS": "2",
    }
    command = (GUNICORN, *(arguments or ("-c", "conf/gunicorn.conf.py")))
    with Running(*command, cwd=cwd, log=directory / "application.log", **where | environ) as running:
        running.ready(http)
        yield running, http, ws


@contextmanager
def gateway(directory: Path, upstream: int, *arguments: str) -> Iterator[tuple[Running, int]]:
    """The gateway before one application, with its port."""
    front, admin = ports(2)
    command = (sys.executable, "-m", "proxy", "--upstream", f"127.0.0.1:{upstream}")
    addresses = ("--bind", f"127.0.0.1:{front}", "--admin", f"127.0.0.1:{admin}", "--workers", "2")
    with Running(*command, *addresses, *arguments, log=directory / "gateway.log") as running:
        running.ready(front)
        yield running, front


@dataclass
class Counts:
    """What a load saw, and what it lost."""

    seen: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


@contextmanager
def load(*arguments: str, inside: Sequence[str] = (), python: str = sys.executable) -> Iterator[Counts]:
    """The load of `load.py` while the block runs, after each of its requests has succeeded once; then its counts.

    `inside` is the command that leads to another machine.
    """
    command = [*inside, python, "tests/deployment/load.py", *arguments]
    process = subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    counts = Counts()
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "running\n", first + process.communicate()[0]
        yield counts
        said = process.communicate(timeout=120)[0]  # closes its standard input
        found = json.loads(said.splitlines()[-1])
        counts.seen, counts.lost = found["seen"], found["lost"]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
