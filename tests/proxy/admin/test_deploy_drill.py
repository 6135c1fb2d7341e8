"""Deployments under load, some of them killed in the middle of each step: no request is lost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection

import pytest

from proxy.commands.deployment import FOLLOWS, Step
from tests.proxy.admin.applications import Application, application
from tests.proxy.admin.conftest import AdminGateway
from tests.proxy.gateway import ROOT
from tests.waiting import PATIENCE, until

Start = Callable[..., AdminGateway]
TURNS = int(os.environ.get("ARAGORA_DEPLOYS", "5"))
"""Deployments of the drill; every fifth is not disturbed."""


class Visitors:
    """Clients on kept connections; `seen` counts the responses of each instance, `wrong` is everything else."""

    def __init__(self, gateway: AdminGateway) -> None:
        self.seen: dict[str, int] = {}
        self.wrong: list[str] = []
        self._address = gateway.address
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(method,)) for method in ("GET", "POST", "GET")]

    def _visit(self, method: str) -> None:
        connection = HTTPConnection(*self._address, timeout=PATIENCE)
        while not self._ended.is_set():
            try:
                connection.request(method, "/", b"order" if method == "POST" else None)
                response = connection.getresponse()
                name = response.read().decode()
            except OSError as problem:
                self.wrong.append(f"{method}: {problem!r}")
                connection.close()
                continue
            if response.status == 200:
                self.seen[name] = self.seen.get(name, 0) + 1
            else:
                self.wrong.append(f"{method}: {response.status} {name}")
        connection.close()

    @contextmanager
    def visiting(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join(PATIENCE)


def deploy(gateway: AdminGateway, target: Application) -> "subprocess.Popen[str]":
    """The command as a process, which can be killed."""
    arguments = ["deploy", "shop", "--target", target.address, "--health-path", "/ready"]
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", *arguments, "--admin", gateway.admin_address],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(command: "subprocess.Popen[str]") -> None:
    command.kill()
    command.communicate()


def killed_while_probing(gateway: AdminGateway, old: Application, new: Application) -> None:
    new.ready = False
    command = deploy(gateway, new)
    assert new.probed.acquire(timeout=PATIENCE)
    kill(command)
    new.ready = True
    assert gateway.names() == {old.name}


def killed_while_switching(gateway: AdminGateway, old: Application, new: Application) -> None:
    command = deploy(gateway, new)
    assert command.stdout is not None
    assert "is ready" in command.stdout.readline()
    kill(command)
    assert gateway.names() <= {old.name, new.name}


def killed_while_draining(gateway: AdminGateway, old: Application, new: Application) -> None:
    held = threading.Thread(target=gateway.get, args=("/hold",))
    held.start()
    assert old.held.acquire(timeout=PATIENCE)
    command = deploy(gateway, new)
    assert command.stdout is not None
    command.stdout.readline()
    assert "served by" in command.stdout.readline()
    kill(command)
    assert gateway.names() == {new.name}
    old.released.set()
    held.join(PATIENCE)


def reloaded_meanwhile(gateway: AdminGateway, _old: Application, new: Application) -> None:
    command = deploy(gateway, new)
    gateway.signal(signal.SIGHUP)
    output = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, output


DISTURBANCES = (killed_while_probing, killed_while_switching, killed_while_draining, reloaded_meanwhile)


@pytest.mark.alone
def test_no_request_is_lost_whichever_step_is_killed(face: Start) -> None:
    gateway = face("")
    with ExitStack() as stack:
        last = stack.enter_context(ExitStack())
        old = last.enter_context(application("v0"))
        assert gateway.run("deploy", "shop", "--target", old.address, "--health-path", "/ready").returncode == 0
        visitors = Visitors(gateway)
        with visitors.visiting():
            for turn in range(1, TURNS + 1):
                following = stack.enter_context(ExitStack())
                new = following.enter_context(application(f"v{turn}"))
                if turn % 5:
                    DISTURBANCES[turn % 5 - 1](gateway, old, new)
                done = gateway.run("deploy", "shop", "--target", new.address, "--health-path", "/ready")
                assert done.returncode == 0, done
                last.close()  # the old instance ends at once, with whatever were still on its way to it
                last, old = following, new
                until(partial(visitors.seen.__contains__, new.name), "it has visitors")
        assert visitors.wrong == []
        assert set(visitors.seen) == {f"v{turn}" for turn in range(TURNS + 1)}


def test_a_deployment_during_an_upgrade_waits_for_its_end(face: Start) -> None:
    gateway = face("")
    with application("old") as old, application("new") as new:
        assert gateway.run("deploy", "shop", "--target", old.address).returncode == 0
        master, booted = gateway.status()["master"]["pid"], gateway.log.count("Booting worker")
        gateway.signal(signal.SIGUSR2)
        gateway.wait_for("Booting worker", booted + 2)
        new_master = until(lambda: (pid := gateway.status()["master"]["pid"]) != master and pid, "the new master")
        gateway.masters.append(int(new_master))
        refused = gateway.run("maintenance", "on")
        assert (refused.returncode, "nothing changed: the gateway is being upgraded" in refused.stderr) == (1, True)
        command = deploy(gateway, new)
        assert command.stdout is not None
        assert "is ready" in command.stdout.readline()
        assert gateway.names() == {"old"}
        os.kill(master, signal.SIGTERM)
        output = command.communicate(timeout=PATIENCE)
        assert command.returncode == 0, output
        assert gateway.names() == {"new"}


def test_every_step_of_a_deployment_leads_to_its_end() -> None:
    assert FOLLOWS.keys() == set(Step)
    ends = {step for step, following in FOLLOWS.items() if not following}
    for step in Step:
        reached, found = FOLLOWS[step], {step}
        while reached:
            assert not reached & found, "a deployment never goes back"
            found |= reached
            reached = frozenset(following for one in reached for following in FOLLOWS[one])
        assert found & ends
