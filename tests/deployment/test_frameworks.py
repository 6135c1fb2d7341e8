"""The guide for Flask, Django and FastAPI, followed to the letter: real applications behind a real gateway."""

import http.client
import json
import shlex
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.pages import blocks
from tests.deployment.processes import CHECKOUT, Running, accepts, ports
from tests.waiting import until

GUIDE = CHECKOUT / "docs" / "howto" / "flask-django-fastapi.md"
CLIENT = "127.0.0.2"
"""An address that is neither the gateway's nor the application's."""


@contextmanager
def followed(section: str, directory: Path, *flags: str) -> Iterator[int]:
    """The section's file is written and its commands are run, the gateway with more flags; the port clients use."""
    (program,) = (block for block in blocks(GUIDE, "python") if block.section == section)
    (commands,) = (block for block in blocks(GUIDE, "sh") if block.section == section)
    (directory / program.text.splitlines()[0].removeprefix("# ")).write_text(program.text)
    application, front = ports(2)
    with ExitStack() as running:
        for number, line in enumerate(commands.text.splitlines()):
            words = shlex.split(line.replace("8080", str(application)).replace("8443", str(front)))
            gateway = words[0] == "aragora-proxy"
            words[0] = str(Path(sys.executable).with_name(words[0]))
            if gateway:
                words += ["--admin", "off", "--workers", "1", *flags]
            path = f"{directory}:{CHECKOUT}"
            process = running.enter_context(
                Running(*words, cwd=directory, log=directory / f"{number}.log", PYTHONPATH=path)
            )
            awaited = front if gateway else application
            until(partial(listens, process, awaited), f"{line}: it listens")
        yield front


def listens(process: Running, port: int) -> bool:
    assert process.process.poll() is None, process.output()
    return accepts(port)


def ask(port: int, host: str, **fields: str) -> tuple[int, Any]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, source_address=(CLIENT, 0), context=context)
    try:
        connection.request("GET", "/", headers={"Host": host, **fields})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return response.status, json.loads(body)
    finally:
        connection.close()


@pytest.mark.parametrize("section", ["Flask", "Django", "FastAPI"])
def test_the_application_knows_who_asks_and_how(section: str, tmp_path: Path) -> None:
    with followed(section, tmp_path) as port:
        for host in (f"127.0.0.1:{port}", "app.example.com"):
            wanted = {"url": f"https://{host}/", "secure": True, "client": CLIENT}
            assert ask(port, host) == (200, wanted)
            forged = {"X-Forwarded-For": "192.0.2.66", "X-Real-IP": "192.0.2.66", "X-Forwarded-Proto": "http",
                      "X-Forwarded-Host": "evil.example", "Forwarded": "for=192.0.2.66;host=evil.example"}  # fmt: skip
            assert ask(port, host, **forged) == (200, wanted)


@pytest.mark.parametrize("section", ["Flask", "Django", "FastAPI"])
def test_the_guides_work_together_behind_a_cdn(section: str, tmp_path: Path) -> None:
    """The application trusts one proxy, the gateway; the gateway trusts the CDN, which is `CLIENT` here."""
    with followed(section, tmp_path, "--trusted-proxies", CLIENT) as port:
        visitor = {"X-Forwarded-For": "6.6.6.6, 198.51.100.7", "X-Forwarded-Proto": "https"}
        _, seen = ask(port, f"127.0.0.1:{port}", **visitor)
        assert seen["client"] == "198.51.100.7"
