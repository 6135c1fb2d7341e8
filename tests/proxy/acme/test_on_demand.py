"""Certificates that are ordered while the first client's handshake waits, with pebble and real clients."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.acme.state import State
from proxy.net.certificates import self_signed
from tests.proxy.acme.asked import Asked, asked
from tests.proxy.acme.pebble import Pebble
from tests.proxy.gateway import Gateway
from tests.proxy.net.tls_client import Client
from tests.proxy.tls_gateway import Browser, connect, serial, serve_tls
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.component("pebble")


@dataclass
class Site:
    """A gateway that obtains on demand, the service it asks, and a client's trust."""

    gateway: Gateway
    service: Asked
    trust: ssl.SSLContext

    def serial(self, name: str) -> str:
        """That of the certificate which a client of the name is content with."""
        return serial(self.gateway, self.trust, name)

    def refuses(self, name: str) -> bool:
        with pytest.raises(ssl.SSLError) as error:
            connect(self.gateway, self.trust, name)
        return "UNRECOGNIZED_NAME" in str(error.value)

    def status(self) -> Any:
        return self.gateway.status()["on_demand"]

    def orders(self, name: str) -> int:
        return self.gateway.log.count(f"obtaining a certificate for {name} from")


@contextlib.contextmanager
def serving(server: Pebble, folder: Path, service: Asked, *flags: str, workers: int = 1) -> Iterator[Site]:
    """It listens where pebble looks for responses to challenges, without names of its own; its state is beside
    `folder`."""
    acme = ("--acme", "a@shop.test", *server.flags)
    more = ("--state-dir", str(folder.parent / "state"), "--on-demand-ask", service.url, *flags)
    there = ("--bind-plain", f"127.0.0.1:{server.http_port}", "--respond", "hello")
    with contextlib.closing(serve_tls(folder, "", *acme, *more, *there, workers=workers)) as running:
        running.admin = running.announced(4)[3]
        yield Site(running, service, server.trust())


@pytest.fixture(scope="module")
def site(server: Pebble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        asked() as service,
        serving(server, tmp_path_factory.mktemp("site") / "gateway", service, workers=2) as running,
    ):
        yield running


def keep_due(server: Pebble, state_dir: Path, name: str) -> None:
    """Store a certificate on demand that lives for two hours, of which one is over."""
    state = State(state_dir, server.directory)
    pair = self_signed((name,), 1 / 24)  # type: ignore[arg-type] # a part of a day
    state.certificate(name).write_bytes(pair.key + pair.chain)
    state.demand(name).write_bytes(b"")


def test_a_restart_keeps_it_and_orders_are_bounded(server: Pebble, tmp_path: Path) -> None:
    """What is due at the restart is renewed, if the service still allows it."""
    names = [f"{word}.shop.test" for word in ("one", "two", "three", "due")]
    with asked(*names) as service:
        with serving(server, tmp_path / "before", service, "--on-demand-rate", "1/h") as running:
            serial = running.serial(names[0])
            assert running.refuses(names[1])
            assert running.status()["handshakes"]["rate"] == 1
        keep_due(server, tmp_path / "state", "due.shop.test")
        keep_due(server, tmp_path / "state", "gone.shop.test")
        limits = ("--on-demand-client-rate", "1/h", "--on-demand-names", "3")
        with serving(server, tmp_path / "after", service, *limits) as running:
            assert running.serial(names[0]) == serial
            assert service.questions.count(names[0]) == 1
            assert running.refuses(names[1])
            assert running.status()["handshakes"]["full"] == 1
            assert running.refuses(names[2])
            assert running.status()["handshakes"]["rate"] == 1
            assert names[2] not in service.questions
            assert "on_demand_names 3: reached" in running.gateway.log
            until(lambda: running.status()["names"] == 3, "the names are counted")
            running.gateway.wait_for("obtained a certificate for due.shop.test")
            assert running.serial("due.shop.test")
            assert "gone.shop.test" in service.questions
            assert running.orders("gone.shop.test") == 0


def test_the_first_client_waits_and_others_are_served(site: Site) -> None:
    site.service.allowed.add("first.shop.test")
    serial = site.serial("first.shop.test")
    asked_before = len(site.service.questions)
    assert {site.serial("first.shop.test") for _ in range(8)} == {serial}
    assert len(site.service.questions) == asked_before
    assert site.orders("first.shop.test") == 1
    with contextlib.closing(Browser(site.gateway, site.trust, "first.shop.test")) as browser:
        assert browser.ask("GET", "/") == (200, b"hello")


def test_ten_clients_of_two_workers_make_one_order(site: Site) -> None:
    name = "busy.shop.test"
    site.service.allowed.add(name)
    serials: list[str] = []
    clients = [threading.Thread(target=lambda: serials.append(site.serial(name))) for _ in range(10)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(serials) == 10
    assert len(set(serials)) == 1
    assert site.orders(name) == 1


def test_a_name_that_is_not_allowed_gets_none(site: Site) -> None:
    before = site.status()["handshakes"]["denied"]
    assert site.refuses("denied.shop.test")
    assert site.refuses("denied.shop.test")
    until(lambda: site.status()["handshakes"]["denied"] == before + 2, "both are counted")
    assert site.orders("denied.shop.test") == 0
    assert 'on_demand_handshakes_total{outcome="denied"}' in site.gateway.admin_text("/metrics")


def test_a_name_without_a_dot_is_not_asked_about(site: Site) -> None:
    assert site.refuses("shop")
    assert "shop" not in site.service.questions
    assert site.status()["handshakes"]["name"] == 1


def test_others_are_served_while_a_handshake_waits(site: Site) -> None:
    site.service.allowed.update(("quick.shop.test", "slow.shop.test"))
    site.serial("quick.shop.test")
    site.service.may_answer.clear()
    with socket.create_connection(site.gateway.address, timeout=PATIENCE) as impatient:
        client = Client(site.trust, impatient, "slow.shop.test")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        client.push()
        until(lambda: "slow.shop.test" in site.service.questions, "the service is asked")
        assert site.serial("quick.shop.test")
    site.service.may_answer.set()
    site.gateway.wait_for("obtained a certificate for slow.shop.test")
    assert site.serial("slow.shop.test")
    assert site.orders("slow.shop.test") == 1


def test_an_unreachable_service_refuses_new_names_only(site: Site) -> None:
    site.service.allowed.update(("kept.shop.test", "later.shop.test"))
    serial = site.serial("kept.shop.test")
    site.service.status = 503
    try:
        assert site.refuses("later.shop.test")
        assert site.serial("kept.shop.test") == serial
        assert "no usable answer for later.shop.test: status 503" in site.gateway.log
    finally:
        site.service.status = 0
