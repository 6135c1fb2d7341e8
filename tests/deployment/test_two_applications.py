"""The guide for two applications on two names, followed: each name has its certificate and its application."""

import http.client
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.pages import blocks, moved
from tests.deployment.processes import CHECKOUT, Running, accepts, ports
from tests.proxy.filters.origin import origin
from tests.waiting import until

GUIDE = CHECKOUT / "docs" / "howto" / "two-applications.md"
pytestmark = pytest.mark.component("openssl")


@dataclass
class Site:
    port: int
    shop: int
    blog: int
    directory: Path

    def ask(self, name: str, certificate: str) -> tuple[int, Any]:
        """The answer for a name, whose certificate must be the one for `certificate`."""
        context = ssl.create_default_context(cafile=self.directory / f"etc/ssl/certs/{certificate}.crt")
        connection = http.client.HTTPSConnection(name, self.port, timeout=30, context=context)
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain:
            connection.sock = context.wrap_socket(plain, server_hostname=name)
            connection.request("GET", "/")
            response = connection.getresponse()
            answer = response.status, json.loads(response.read())
            connection.close()
        return answer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("two")
    secure, plain = ports(2)
    with origin() as shop, origin() as blog:
        addresses = {
            "0.0.0.0:443": f"127.0.0.1:{secure}",
            "0.0.0.0:80": f"127.0.0.1:{plain}",
            "127.0.0.1:8081": f"127.0.0.1:{shop}",
            "unix:/run/blog/gunicorn.sock": f"127.0.0.1:{blog}",
        }
        file = directory / "proxy.toml"
        file.write_text(moved(blocks(GUIDE, "toml")[0].text, directory, addresses))
        command = (sys.executable, "-m", "proxy", "--config", str(file), "--admin", "off", "--workers", "1")
        with Running(*command, log=directory / "gateway.log") as running:
            until(lambda: running.process.poll() is not None or accepts(secure), "it listens")
            assert running.process.poll() is None, running.output()
            yield Site(secure, shop, blog, directory)


@pytest.mark.parametrize(
    ("name", "certificate"),
    [("shop.example", "shop"), ("www.shop.example", "shop"), ("blog.example", "blog"), ("my.blog.example", "blog")],
)
def test_each_name_has_its_certificate_and_its_application(site: Site, name: str, certificate: str) -> None:
    status, seen = site.ask(name, f"{certificate}.example")
    assert (status, seen["port"]) == (200, getattr(site, certificate))
    assert seen["fields"]["host"].startswith(name)


def test_a_name_that_is_not_served(site: Site) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        site.ask("other.example", "shop.example")
    context = ssl.create_default_context(cafile=site.directory / "etc/ssl/certs/shop.example.crt")
    connection = http.client.HTTPSConnection("127.0.0.1", site.port, timeout=30, context=context)
    connection.request("GET", "/", headers={"Host": "other.example"})
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (404, "no_route")
    connection.close()
