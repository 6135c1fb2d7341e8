"""Probes of a real Django that serves one host and redirects to https, as its deployment checklist asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.processes import GUNICORN, Running, accepts, get, ports
from tests.proxy.gateway import Gateway, serve
from tests.proxy.tls_gateway import serve_tls
from tests.waiting import until

DJANGO = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["shop.example"], ROOT_URLCONF=__name__, SECRET_KEY="x", SECURE_SSL_REDIRECT=True,
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
)
urlpatterns = [path("up", lambda request: HttpResponse("ok"))]
application = get_wsgi_application()
"""
PROBES = 'health_path = "/up"\nhealth_interval = "100ms"\nhealth_fall = 1\nhealth_rise = 1\n'


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the application."""
    directory = tmp_path_factory.mktemp("django")
    (directory / "shop.py").write_text(DJANGO)
    (port,) = ports(1)
    with Running(
        GUNICORN, "shop:application", "--bind", f"127.0.0.1:{port}", "--threads", "4", cwd=directory,
        log=directory / "log", PYTHONPATH=str(directory),
    ):  # fmt: skip
        until(lambda: accepts(port), "the application listens")
        yield f"127.0.0.1:{port}"


@pytest.fixture
def config(tmp_path: Path, django: str) -> Any:
    """Writes a gateway's file; `{django}` stands for the application."""

    def write(text: str) -> list[str]:
        path = tmp_path / "proxy.toml"
        path.write_text((PROBES + text).replace("{django}", django))
        return ["", "--config", str(path), "--access-log", "off"]

    return write


ROUTE = '[[route]]\nhost = ["shop.example", "other.example"]\nupstream = "{django}"\n'


@pytest.mark.parametrize(
    ("text", "tls"),
    [
        (ROUTE, False),
        (ROUTE.replace('["shop.example", "other.example"]', '"*.shop.example"'), False),
        ('upstream = "{django}"\n', False),
        ('upstream = "{django}"\nhealth_host = "shop.example"\nhealth_scheme = "https"\nhealth_status = 200\n', False),
        ('upstream = "{django}"\nhealth_status = "200, 301-302, 400"\n', False),
        (f'health_status = "200"\n{ROUTE}', True),
        ('health_status = "200"\nupstream = "{django}"\nhealth_host = "shop.example:443"\n', True),
    ],
)
def test_the_application_is_up(tmp_path: Path, config: Any, text: str, tls: bool) -> None:
    upstream, *flags = config(text)
    gateway = (
        serve_tls(tmp_path / "gateway", upstream, "--tls", "self-signed", *flags)
        if tls
        else serve(tmp_path / "gateway", upstream, *flags, admin=True)
    )
    try:
        peer = until(lambda: probed(gateway), "the application was probed")
        assert peer["state"] == "up"
        assert "is down" not in gateway.log
    finally:
        gateway.close()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f'health_status = "200-299"\n{ROUTE}', "/up answered 301 to Host shop.example"),
        (f'health_scheme = "http"\nhealth_status = 200\n{ROUTE}', "/up answered 301 to Host shop.example"),
        ('upstream = "{django}"\nhealth_host = "localhost"\n', "/up answered 400 to Host localhost"),
        ('upstream = "{django}"\nhealth_status = "200-399"\n', "/up answered 400 to Host {django}"),
    ],
)
def test_what_is_expected_can_be_said(tmp_path: Path, config: Any, django: str, text: str, fault: str) -> None:
    upstream, *flags = config(text)
    gateway = serve(tmp_path / "gateway", upstream, *flags, admin=True)
    try:
        told = f"upstream {django} is down: " + fault.replace("{django}", django)
        until(lambda: told in gateway.log, told)
    finally:
        gateway.close()


def probed(gateway: Gateway) -> dict[str, Any] | None:
    """The application's peer as the status shows it, once a probe came back."""
    (peer,) = (peer for route in status(gateway)["routes"] for peer in route["peers"])
    return peer if peer["probed"] else None


def status(gateway: Gateway) -> dict[str, Any]:
    return dict(get(gateway.admin[1], "/status.json").json())
