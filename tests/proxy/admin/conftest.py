"""Gateways with an admin address, and applications behind them."""

import io
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.cli import main
from proxy.commands.client import connect
from proxy.settings.values import Address
from tests.proxy.admin.applications import Application, application
from tests.proxy.gateway import Gateway
from tests.proxy.websocket_echo import websocket_echo
from tests.waiting import PATIENCE, until

TOML = """\
bind = "127.0.0.1:0"
admin = "127.0.0.1:0"
access_log = "access.log"
workers = 2
retry_wait = "1s"
"""


class Done(NamedTuple):
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


class AdminGateway(Gateway):
    """A gateway of the real kind, and what its admin address says."""

    def __init__(self, directory: Path, toml: str) -> None:
        super().__init__(directory, toml=toml.replace('"access.log"', f'"{directory}/access.log"'))

    def up(self, workers: int = 2, *, control: bool = True) -> "AdminGateway":
        self.address, self.admin = self.announced(2)
        if not control:
            self.wait_for("Booting worker", workers)
            return self
        until(lambda: len(self.workers()) == workers, "workers")
        return self

    def get(self, path: str = "/", host: str = "") -> tuple[int, str]:
        """Status and body of an answer at the front."""
        request = urllib.request.Request(self.url + path, headers={"Host": host} if host else {})
        return answered(request)

    def names(self, count: int = 12) -> set[str]:
        """Who answers, over so many requests."""
        return {self.get()[1] for _ in range(count)}

    def status(self) -> dict[str, Any]:
        return self.asked("GET", "/status.json")[1]

    def metrics(self) -> str:
        return self.admin_text("/metrics")

    def workers(self) -> list[int]:
        return [worker["pid"] for worker in self.status()["workers"] if not worker["draining"]]

    def post(self, command: str, body: object, **fields: str) -> tuple[int, dict[str, Any]]:
        """A command as a script would send it."""
        return self.asked("POST", f"/{command}", json.dumps(body), **fields)

    def asked(self, method: str, target: str, body: str | None = None, **fields: str) -> tuple[int, dict[str, Any]]:
        """Status and document of an answer over the socket for commands."""
        connection = connect(Address(path=str(self.control)), PATIENCE)
        try:
            more = {name.replace("_", "-"): text for name, text in fields.items()}
            connection.request(method, target, body, {"Content-Type": "application/json"} | more)
            answer = connection.getresponse()
            return answer.status, dict(json.load(answer))
        finally:
            connection.close()

    def run(self, *arguments: str) -> Done:
        """A command of the terminal, with the admin address."""
        return command(*arguments, "--admin", self.admin_address)


def answered(request: urllib.request.Request) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def command(*arguments: str) -> Done:
    """`python -m proxy ARGUMENTS`, without the start of an interpreter."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def applications() -> Iterator[Callable[[str], Application]]:
    """Start one by its name."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(application(name))


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Callable[..., AdminGateway]]:
    """Start a gateway; `more` is appended to a file that listens on ports of the kernel's choice."""
    started: list[AdminGateway] = []

    def begin(more: str, *, toml: str = TOML, workers: int = 2, control: bool = True) -> AdminGateway:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(AdminGateway(directory, toml + more))
        return started[-1].up(workers, control=control)

    yield begin
    for gateway in started:
        gateway.close()


@pytest.fixture
def held() -> Iterator[Callable[[AdminGateway, Application], threading.Thread]]:
    """A request that an application holds until it is told."""
    threads: list[threading.Thread] = []

    def begin(gateway: AdminGateway, target: Application) -> threading.Thread:
        threads.append(threading.Thread(target=gateway.get, args=("/hold",)))
        threads[-1].start()
        assert target.held.acquire(timeout=PATIENCE)
        return threads[-1]

    yield begin
    for thread in threads:
        thread.join(PATIENCE)


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a WebSocket server that sends back what it is sent."""
    with websocket_echo() as address:
        yield address
