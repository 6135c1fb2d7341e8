"""The guides to routes, followed: each command prints what the comment beside it says."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deployment.pages import blocks, moved
from tests.deployment.processes import CHECKOUT
from tests.proxy.gateway import Gateway, serve

HOWTO = CHECKOUT / "docs" / "howto"
COMMAND = re.compile(r"(?P<command>curl .*?)  +# (?P<printed>.*)")
SETTING_UP = re.compile(r"^(?:mkdir|printf|seq) .*", re.MULTILINE)
STAND_IN = re.compile(r"--respond '(?P<text>.*?)'")
pytestmark = pytest.mark.component("curl")


@pytest.fixture(scope="module", params=["routes", "rewriting", "files"])
def followed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Path]]:
    """A gateway with the first file of the page."""
    page = HOWTO / f"{request.param}.md"
    directory = tmp_path_factory.mktemp(request.param)
    file = directory / "proxy.toml"
    text = moved(blocks(page, "toml")[0].text, directory)
    for block in blocks(page, "sh"):
        for command in SETTING_UP.findall(block.text):
            subprocess.run(["bash", "-ec", moved(command, directory)], check=True, timeout=20)
    with ExitStack() as running:
        if stand_in := STAND_IN.search(page.read_text()):
            application = serve(directory / "application", "", "--respond", stand_in["text"])
            running.callback(application.close)
            text = text.replace("127.0.0.1:8081", "{}:{}".format(*application.address))
        file.write_text(text.replace('bind = "127.0.0.1:8000"', 'bind = "127.0.0.1:0"\nh2c = true'))
        gateway = serve(directory / "gateway", "", "--config", str(file))
        running.callback(gateway.close)
        yield gateway, page


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_each_command_prints_what_the_page_says(followed: tuple[Gateway, Path], version: str) -> None:
    gateway, page = followed
    commands = [found for block in blocks(page, "sh") for found in COMMAND.finditer(block.text)]
    assert commands
    for found in commands:
        command = found["command"].replace("http://127.0.0.1:8000", gateway.url).replace("curl ", f"curl {version} ", 1)
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20)
        assert done.stdout.strip() == found["printed"].strip(), command
