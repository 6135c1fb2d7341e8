"""The guide's nginx file and what becomes of it, side by side: the same requests get the same answers."""

import http.client
import json
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import program
from tests.deployment.pages import blocks, moved
from tests.deployment.processes import CHECKOUT, Running, accepts, ports
from tests.proxy.filters.origin import origin
from tests.reach import open_to_all
from tests.waiting import until

GUIDE = CHECKOUT / "docs" / "howto" / "from-nginx.md"
NAME = "shop.example"
CLIENT = "127.0.0.2"

AROUND = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    types {{ text/css css; }}
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
{site}
}}
"""
"""What nginx needs beside the guide's file, to run where a test may."""


@dataclass
class Site:
    secure: int
    plain: int
    certificate: Path
    application: int
    events: int

    def ask(self, path: str, *, body: bytes = b"", secure: bool = True, **fields: str) -> http.client.HTTPResponse:
        """The answer, read to its end into `response.whole`."""
        where = ("127.0.0.1", self.secure if secure else self.plain)
        context = ssl.create_default_context(cafile=self.certificate)
        connection = (
            http.client.HTTPSConnection(*where, timeout=30, source_address=(CLIENT, 0), context=context)
            if secure
            else http.client.HTTPConnection(*where, timeout=30, source_address=(CLIENT, 0))
        )
        try:
            connection.request("POST" if body else "GET", path, body or None, {"Host": NAME, **fields})
            response = connection.getresponse()
            response.whole = response.read()  # type: ignore[attr-defined]
            return response
        finally:
            connection.close()


def run_nginx(directory: Path, addresses: dict[str, str]) -> AbstractContextManager[Running]:
    (block,) = blocks(GUIDE, "nginx")
    site = moved(block.text, directory, addresses)
    file = directory / "nginx.conf"
    file.write_text(AROUND.format(directory=directory, site=site))
    binary = program("nginx")
    assert binary
    return Running(binary, "-p", str(directory), "-c", str(file), log=directory / "nginx.log")


def run_gateway(directory: Path, addresses: dict[str, str]) -> AbstractContextManager[Running]:
    (block,) = blocks(GUIDE, "toml")
    file = directory / "gateway.toml"
    file.write_text(moved(block.text, directory, addresses))
    command = (sys.executable, "-m", "proxy", "--config", str(file), "--admin", "off", "--workers", "1")
    return Running(*command, log=directory / "gateway.log")


@contextmanager
def served(directory: Path, run: Callable[[Path, dict[str, str]], AbstractContextManager[Running]]) -> Iterator[Site]:
    secure, plain = ports(2)
    with origin() as application, origin() as events:
        addresses = {
            "listen 443": f"listen 127.0.0.1:{secure}",
            "listen 80": f"listen 127.0.0.1:{plain}",
            "0.0.0.0:443": f"127.0.0.1:{secure}",
            "0.0.0.0:80": f"127.0.0.1:{plain}",
            "127.0.0.1:8081": f"127.0.0.1:{application}",
            "127.0.0.1:8083": f"127.0.0.1:{events}",
        }
        static = directory / "srv/shop/static"
        static.mkdir(parents=True)
        (static / "app.css").write_text("body { color: red }\n")
        open_to_all(static)  # nginx' worker is somebody else
        with run(directory, addresses) as running:
            until(lambda: running.process.poll() is not None or accepts(secure), "it listens")
            assert running.process.poll() is None, running.output()
            yield Site(secure, plain, directory / f"etc/ssl/certs/{NAME}.crt", application, events)


@pytest.fixture(scope="module", params=[run_nginx, run_gateway], ids=["nginx", "gateway"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("site"), request.param) as running:
        yield running


pytestmark = [pytest.mark.component("nginx"), pytest.mark.component("openssl")]


def told(response: http.client.HTTPResponse) -> tuple[int, dict[str, str]]:
    """Which application was asked, by its port, and the fields that it saw."""
    seen = json.loads(response.whole)  # type: ignore[attr-defined]
    return seen["port"], seen["fields"]


def test_the_application_learns_who_asks(site: Site) -> None:
    response = site.ask("/a?b=c")
    port, fields = told(response)
    assert (response.status, port) == (200, site.application)
    assert fields["host"] == NAME
    assert (fields["x-forwarded-proto"], fields["x-forwarded-for"], fields["x-real-ip"]) == ("https", CLIENT, CLIENT)
    assert response.getheader("Strict-Transport-Security")


def test_plain_http_is_redirected(site: Site) -> None:
    response = site.ask("/a?b=c", secure=False)
    assert response.status in (301, 308)
    assert (response.getheader("Location") or "").startswith(f"https://{NAME}")
    assert (response.getheader("Location") or "").endswith("/a?b=c")


def test_files(site: Site) -> None:
    response = site.ask("/static/app.css")
    assert response.whole == b"body { color: red }\n"  # type: ignore[attr-defined]
    assert (response.getheader("Content-Type") or "").startswith("text/css")
    assert response.getheader("Cache-Control") == "max-age=3600"
    assert site.ask("/static/app.css", **{"If-None-Match": response.getheader("ETag") or ""}).status == 304
    assert site.ask("/static/app.css", Range="bytes=0-3").status == 206
    assert site.ask("/static/none.css").status == 404


def test_the_other_application(site: Site) -> None:
    assert told(site.ask("/ws"))[0] == site.events


def test_a_body_that_is_too_large(site: Site) -> None:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", site.secure, timeout=30, context=ssl.create_default_context(cafile=site.certificate)
    )
    connection.putrequest("POST", "/", skip_host=True)
    connection.putheader("Host", NAME)
    connection.putheader("Content-Length", str(51 << 20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_the_differences_that_the_guide_names(site: Site, request: pytest.FixtureRequest) -> None:
    nginx = "nginx" in request.node.callspec.id
    claimed = told(site.ask("/", **{"X-Forwarded-For": "192.0.2.66"}))[1]["x-forwarded-for"]
    assert claimed == (f"192.0.2.66, {CLIENT}" if nginx else CLIENT)
    forged = told(site.ask("/ws", **{"X-Forwarded-Proto": "http"}))[1]
    assert (forged["host"] == NAME, forged["x-forwarded-proto"]) == ((False, "http") if nginx else (True, "https"))
