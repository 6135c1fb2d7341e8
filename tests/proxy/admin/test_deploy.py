"""The guide to deploying without downtime, step by step as it is written, with preloading gunicorns under load."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.deployment.pages import blocks
from tests.deployment.processes import CHECKOUT
from tests.proxy.admin.conftest import AdminGateway
from tests.waiting import PATIENCE, until

PAGE = CHECKOUT / "docs" / "howto" / "deploy-without-downtime.md"
SHOP = """\
import time
VERSION = "{version}"
time.sleep({start})  # as an application that takes its time to load
def application(environ, start_response):
    time.sleep(0.02)  # and to answer
    broken = environ["PATH_INFO"] == "/ready" and {broken}
    start_response("503 no" if broken else "200 OK", [("Content-Length", "3"), ("X-Worker", "gunicorn")])
    return [VERSION.encode()]
"""


class Customers:
    """Who asks the gateway all the time; `seen` are the versions that answered, `wrong` what else came."""

    def __init__(self, gateway: AdminGateway) -> None:
        self.seen: list[str] = []
        self.wrong: list[object] = []
        self._gateway = gateway
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._come) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def _come(self) -> None:
        while not self._ended.is_set():
            try:
                status, version = self._gateway.get()
            except OSError as problem:
                self.wrong.append(problem)
            else:
                (self.seen if status == 200 else self.wrong).append(version)  # type: ignore[attr-defined]

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where the guide's /run/shop and /etc are; every gunicorn whose pid is there is ended."""
    (tmp_path / "run/shop").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    yield tmp_path
    for pidfile in (tmp_path / "run/shop").glob("*.pid"):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(pidfile.read_text()), signal.SIGQUIT)


def steps(place: Path, admin: str) -> list[str]:
    """The page's commands, with its paths and the gateway's address as they are here."""
    text = "\n".join(block.text for block in blocks(PAGE, "sh"))
    text = re.sub(r"/(run/shop|etc/proxy\.toml)", rf"{place}/\1", text)
    text = text.replace(f"--config {place}/etc/proxy.toml", f"--admin {admin}")
    return [line for line in text.splitlines() if line]


def run(step: str, place: Path) -> subprocess.CompletedProcess[str]:
    python = shlex.quote(sys.executable)
    step = re.sub(r"^gunicorn ", f"{python} -m gunicorn ", step)
    step = re.sub(r"^aragora-proxy ", f"{python} -m proxy ", step)
    return subprocess.run(
        ["bash", "-c", step],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )


def install(place: Path, version: str, *, broken: bool = False, start: float = 0) -> None:
    (place / "shop.py").write_text(SHOP.format(version=version, broken=broken, start=start))


def test_deploy_guide_works_under_load_and_survives_failure(face: Callable[..., AdminGateway], place: Path) -> None:
    install(place, "one")
    blue = steps(place, "")[0]
    assert run(blue, place).returncode == 0
    until((place / "run/shop/blue.sock").exists, "blue listens")
    upstream = f'upstream = "unix:{place}/run/shop/blue.sock"\n'
    gateway = face(upstream)
    start_blue, _, start_green, switch, stop_blue, write_down, reload = steps(place, gateway.admin_address)
    assert start_blue == blue
    customers = Customers(gateway)
    try:
        install(place, "bad", broken=True)
        assert run(start_green, place).returncode == 0
        refused = run(f"{switch} --timeout 2", place)
        assert (refused.returncode, "nothing changed" in refused.stderr) == (1, True), refused
        until((place / "run/shop/green.sock").exists, "green listens")
        os.kill(int((place / "run/shop/green.pid").read_text()), signal.SIGTERM)
        until(lambda: not (place / "run/shop/green.pid").exists(), "green has ended")
        assert set(customers.seen) == {"one"}
        install(place, "two", start=0.5)
        assert run(start_green, place).returncode == 0
        done = run(switch, place)
        assert done.returncode == 0, done
        assert gateway.names() == {"two"}
        assert run(stop_blue, place).returncode == 0
        until(lambda: not (place / "run/shop/blue.pid").exists(), "blue has ended")
        (place / "etc/proxy.toml").write_text(gateway.config.read_text())
        assert run(write_down, place).returncode == 0
        gateway.configure((place / "etc/proxy.toml").read_text())
        assert run(reload, place).returncode == 0
        assert gateway.names() == {"two"}
        assert gateway.status()["routes"][0]["switched_from"] == []
    finally:
        customers.end()
    assert customers.wrong == []
    assert set(customers.seen) == {"one", "two"}
