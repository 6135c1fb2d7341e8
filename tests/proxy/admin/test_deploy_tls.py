"""`deploy --tls`: a service's hosts get certificates, which outlive restarts."""

import os
import signal
from collections.abc import Callable
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from proxy.admin.services import Service, tls_obstacle, with_domains
from proxy.settings import Settings
from tests.proxy.acme.pebble import pebble
from tests.proxy.admin.applications import Application
from tests.proxy.admin.conftest import AdminGateway
from tests.proxy.authority import Authority
from tests.proxy.tls_gateway import connect, trusted
from tests.waiting import until

HOST = "shop.test"
SHOP = Service("shop", ("127.0.0.1:1",), (HOST,), tls=True)
WITH_ACME = Settings(workers=1, acme="a@site.test", domain=("site.test",))


@pytest.mark.component("pebble")
def test_a_service_gets_its_certificate_and_keeps_it(
    face: Callable[..., AdminGateway],
    applications: Callable[[str], Application],
    authority: Authority,
    tmp_path: Path,
) -> None:
    one = applications("one")
    with pebble(authority, tmp_path, PEBBLE_VA_ALWAYS_VALID="1") as server:
        trust = server.trust()
        settings = (
            f'acme = "a@site.test"\nacme_directory = "{server.directory}"\nacme_ca = "{server.ca}"\n'
            f'state_dir = "{tmp_path}/state"\n'
        )
        gateway = face(settings)
        assert not trusted(gateway, trust, HOST)
        plain = gateway.run("deploy", "other", "--target", one.address, "--host", "other.test")
        assert plain.returncode == 0, plain
        made = gateway.run("deploy", "shop", "--target", one.address, "--host", HOST, "--tls")
        assert made.returncode == 0, made
        until(lambda: trusted(gateway, trust, HOST), "the certificate", 40)
        assert "certificates by ACME" in gateway.run("list").stdout
        assert "other.test" not in gateway.log.replace("deploy other", "")
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()
    until(lambda: not gateway.control.exists() or gateway.run("status").returncode == 1, "its workers have ended")
    again = face(settings)
    assert trusted(again, trust, HOST), "without the authority"
    browser = HTTPSConnection(HOST, again.port, context=trust)
    browser.sock = connect(again, trust, HOST)
    browser.request("GET", "/")
    assert browser.getresponse().read() == b"one"
    browser.close()
    ended = again.run("deploy", "shop", "--target", one.address, "--no-tls")
    assert ended.returncode == 0, ended
    until(lambda: not trusted(again, trust, HOST), "it is served no more")


def test_a_gateway_without_acme_refuses_it(
    face: Callable[..., AdminGateway], applications: Callable[[str], Application]
) -> None:
    gateway, one = face(""), applications("one")
    refused = gateway.run("deploy", "shop", "--target", one.address, "--host", HOST, "--tls")
    assert refused.returncode == 1
    assert "this gateway obtains no certificates; start it with acme" in refused.stderr
    nameless = gateway.run("deploy", "shop", "--target", one.address, "--tls")
    assert nameless.returncode != 0
    assert "tls: needs the names to obtain certificates for; add host" in nameless.stderr


@pytest.mark.parametrize("tls", ["yes", 1, None])
def test_tls_is_on_or_off(tls: object) -> None:
    with pytest.raises(ValueError, match=r"^tls"):
        Service.read({"name": "shop", "target": "127.0.0.1:1", "host": HOST, "tls": tls})


def test_wildcards_need_validation_by_dns() -> None:
    wild = Service("shop", ("127.0.0.1:1",), ("*.shop.test",), tls=True)
    assert "can be validated through DNS alone" in tls_obstacle(wild, WITH_ACME)
    assert not tls_obstacle(wild, Settings(workers=1, acme="a@b", acme_dns_hook=Path("/bin/true")))


def test_domains_are_those_of_services_that_ask() -> None:
    plain = Service("other", ("127.0.0.1:1",), ("other.test",))
    assert with_domains(WITH_ACME, [SHOP, plain]).domain == ("site.test", HOST)
    assert with_domains(Settings(workers=1), [SHOP]).domain == ()
    assert Service.read(SHOP.document()) == SHOP
