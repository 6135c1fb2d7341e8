"""Maintenance by command, end to end: a page for everybody, the service for those who work on it."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.gateway import ROOT, Gateway, serve

CONFIG = """
respond = "at work\\n"
maintenance_page = "{page}"
maintenance_allow = ["127.0.0.2"]

[[route]]
name = "other"
path = "/other"
respond = "other\\n"
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    page = tmp_path / "soon.html"
    page.write_text("<h1>back soon</h1>")
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(page=page))
    running = serve(tmp_path / "run", "", "--config", str(config), admin=True, workers=2)
    try:
        yield running
    finally:
        running.close()


def ask(gateway: Gateway, path: str = "/", source: str = "127.0.0.1", **fields: str) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(*gateway.address, timeout=20, source_address=(source, 0))
    try:
        connection.request("GET", path, headers=fields)
        response = connection.getresponse()
        return response.status, response.getheader("Retry-After"), response.read()
    finally:
        connection.close()


def maintain(gateway: Gateway, *arguments: str) -> None:
    """As an operator does it; the command ends when every worker has followed."""
    command = [sys.executable, "-m", "proxy", "maintenance", *arguments, "--admin", gateway.admin_address]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)


def test_maintenance_by_command(gateway: Gateway) -> None:
    assert ask(gateway) == (200, None, b"at work\n")
    maintain(gateway, "on")
    assert ask(gateway, Accept="text/html") == (503, "60", b"<h1>back soon</h1>")
    status, _, body = ask(gateway, "/other")
    assert (status, json.loads(body)["error"]["code"]) == (503, "maintenance")
    assert ask(gateway, source="127.0.0.2") == (200, None, b"at work\n")
    maintain(gateway, "off")
    assert ask(gateway) == (200, None, b"at work\n")
    maintain(gateway, "on", "--route", "other")
    assert ask(gateway)[0] == 200
    assert ask(gateway, "/other")[0] == 503
