"""Services made of containers by their labels: real gateways, the real library, and a stand-in for the daemon."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from proxy.commands.containers import watch
from proxy.commands.containers.daemon import Daemon, DaemonAway
from tests.proxy.admin.applications import Application
from tests.proxy.admin.conftest import AdminGateway
from tests.proxy.commands.container_daemon import ContainerDaemon
from tests.proxy.gateway import ROOT
from tests.waiting import PATIENCE, until

Applications = Callable[[str], Application]


class Follower:
    """`aragora-proxy containers` as a process; `log` is what it has said."""

    def __init__(self, daemon: Path, gateway: AdminGateway, folder: Path) -> None:
        self._file = folder / "containers.log"
        command = [sys.executable, "-m", "proxy", "containers", "--daemon", f"unix://{daemon}"]
        with self._file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--admin", gateway.admin_address], cwd=ROOT, stdout=log, stderr=log, env=dict(os.environ)
            )

    @property
    def log(self) -> str:
        return self._file.read_text()

    def says(self, text: str) -> None:
        until(lambda: text in self.log or self.process.poll() is not None, f"the log says {text!r}")
        assert text in self.log, self.log

    def end(self) -> int:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ContainerDaemon]:
    made = ContainerDaemon(tmp_path / "docker.sock")
    yield made
    made.close()


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[[AdminGateway], Follower]]:
    begun: list[Follower] = []

    def begin(gateway: AdminGateway) -> Follower:
        begun.append(Follower(tmp_path / "docker.sock", gateway, tmp_path))
        return begun[-1]

    yield begin
    for follower in begun:
        follower.end()


def labels(target: Application, **more: str) -> dict[str, str]:
    """Those of a container with this application."""
    port = target.address.rpartition(":")[2]
    return {"aragora.port": port, **{f"aragora.{name}": text for name, text in more.items()}}


def serves(gateway: AdminGateway, host: str, *names: str) -> None:
    """Return once these applications, and no others, respond under this host."""
    until(lambda: {gateway.get(host=host)[1] for _ in range(8)} == set(names), f"{host} is served by {names}")


def found(gateway: AdminGateway) -> dict[str, Any]:
    """What the status says of containers."""
    return dict(gateway.status()["containers"] or {})


def test_containers_become_services_peers_and_successors(
    face: Callable[..., AdminGateway],
    applications: Applications,
    daemon: ContainerDaemon,
    follow: Callable[[AdminGateway], Follower],
) -> None:
    gateway = face("", workers=2)
    one, two, three = applications("one"), applications("two"), applications("three")
    three.ready = False
    first = daemon.start("shop-1", labels(one, service="shop", host="shop.example", health_path="/ready"))
    follower = follow(gateway)
    serves(gateway, "shop.example", "one")
    second = daemon.start("shop-2", labels(two, service="shop", host="shop.example", health_path="/ready"))
    serves(gateway, "shop.example", "one", "two")
    # A newer version takes over once it is ready, and not before.
    third = daemon.start("shop-3", labels(three, service="shop", host="shop.example", health_path="/ready"), "next")
    follower.says("container shop-3: not ready")
    serves(gateway, "shop.example", "one", "two")
    three.ready = True
    serves(gateway, "shop.example", "three")
    listed = gateway.run("list").stdout
    assert "shop: shop.example / ->" in listed
    assert "found by labels of containers" in listed
    # One that is told to stop gets nothing more although it still runs; what is left of before serves again.
    daemon.tell("kill", third, signal="15")
    serves(gateway, "shop.example", "one", "two")
    daemon.stop(third)
    daemon.stop(first)
    serves(gateway, "shop.example", "two")
    begun, asked = monotonic(), daemon.asked.count("GET /containers/json")
    for _ in range(2000):
        daemon.tell("exec_start", second)
    until(lambda: daemon.asked.count("GET /containers/json") > asked + 1, "the daemon is asked again")
    assert daemon.asked.count("GET /containers/json") - asked <= 2 * (monotonic() - begun) + 2
    daemon.tell("kill", second, signal="1")  # asked to read its settings again, not to end
    assert (found(gateway)["state"], found(gateway)["containers"]) == ("connected", 1)
    assert "aragora_proxy_container_daemon_connected 1.0" in gateway.metrics()
    assert {line.partition(" ")[0] for line in daemon.asked} == {"GET"}
    assert follower.end() == 0


def test_wrong_labels_and_claims_leave_all_others_alone(
    face: Callable[..., AdminGateway],
    applications: Applications,
    daemon: ContainerDaemon,
    follow: Callable[[AdminGateway], Follower],
) -> None:
    gateway = face('[[route]]\nname = "own"\nhost = "own.example"\nrespond = "file"\n')
    good, other, manual = applications("good"), applications("other"), applications("manual")
    assert gateway.run("deploy", "manual", "--target", manual.address, "--host", "manual.example").returncode == 0
    daemon.start("odd-port", {"aragora.port": "http", "aragora.host": "a.example"})
    daemon.start("odd-name", labels(good, hots="b.example"))
    daemon.start("odd-path", labels(good, path="a b"))
    daemon.start("portless", {"aragora.host": "c.example"})
    daemon.start("plain", {"com.example.other": "label"})
    daemon.start("older", labels(good, host="good.example"))
    daemon.start("newer", labels(other, host="good.example"))
    daemon.start("of-command", labels(other, service="manual", host="x.example"))
    daemon.start("of-file", labels(other, host="own.example"))
    daemon.start("of-other", labels(other, host="manual.example"))
    follower = follow(gateway)
    serves(gateway, "good.example", "good")
    for line in (
        'container odd-port: label aragora.port "http": expected a number from 1 to 65535',
        'container odd-name: label aragora.hots "b.example": unknown; labels are',
        'container odd-path: label aragora.path "a b": expected a path',
        "container portless: label aragora.port missing: the image exposes no port; add",
        "container newer: labels aragora.host, aragora.path: good.example / is served by service older",
        "container of-command: service manual was deployed by command",
        "container of-file: route own takes the same requests",
        "container of-other: labels aragora.host, aragora.path: manual.example / is served by service manual",
    ):
        follower.says(line)
    assert "plain" not in follower.log
    assert [gateway.get(host=f"{name}.example")[1] for name in ("own", "manual", "good")] == ["file", "manual", "good"]
    until(lambda: len(found(gateway)["faults"]) == 8, "the status has all faults")
    assert "aragora_proxy_container_faults 8.0" in gateway.metrics()
    for number in range(48):
        daemon.start(f"many-{number}", labels(good, hots="\u00fc" * 80))
    until(lambda: len(found(gateway)["faults"]) > 20, "the status has as many as there is room for")


def test_a_daemon_that_is_away_takes_nothing_with_it(
    face: Callable[..., AdminGateway],
    applications: Applications,
    daemon: ContainerDaemon,
    follow: Callable[[AdminGateway], Follower],
    tmp_path: Path,
) -> None:
    gateway = face("")
    one, two = applications("one"), applications("two")
    daemon.start("one", labels(one, host="one.example"))
    follower = follow(gateway)
    serves(gateway, "one.example", "one")
    daemon.close()
    follower.says("does not respond")
    until(lambda: found(gateway)["state"] == "away", "the status says so")
    assert "aragora_proxy_container_daemon_connected 0.0" in gateway.metrics()
    assert gateway.get(host="one.example") == (200, "one")
    again = ContainerDaemon(tmp_path / "docker.sock")
    try:
        key = again.start("two", labels(two, host="two.example"))
        serves(gateway, "two.example", "two")
        until(lambda: gateway.get(host="one.example")[1] != "one", "what has no container is removed")
        assert watch.LINGER <= 10
        again.stop(key)
    finally:
        again.close()


def test_answers_that_are_none_of_the_api_end_nothing(daemon: ContainerDaemon, tmp_path: Path) -> None:
    read = Daemon(f"unix://{tmp_path}/docker.sock")
    read.connect()
    good = daemon.start("good", {"aragora.port": "80"})
    odd = daemon.start("odd", {"aragora.port": "80"}, State=None)
    instances, faults = read.containers()
    assert [one.id for one in instances] == [good]
    assert [fault.partition(": ")[0] for fault in faults] == [f"container {odd}"]
    daemon.listing = "none"
    with pytest.raises(DaemonAway, match="an answer that is none of Docker's API"):
        read.containers()
    daemon.listing = [{}, {"Labels": {"aragora.port": "80"}}]
    with pytest.raises(DaemonAway, match="an answer that is none of Docker's API"):
        read.containers()


def test_the_command_names_the_library_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from proxy.cli import main
    from proxy.commands import containers

    monkeypatch.setattr(containers, "find_spec", lambda _: None)
    assert main(["containers"]) == 2
