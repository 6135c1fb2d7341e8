"""Every directory of examples/ as its page says: both commands, on ports of the test's own, and what a client sees."""

import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from websocket import create_connection

from proxy.cli import main
from tests.conftest import program
from tests.deployment.pages import blocks
from tests.deployment.processes import CHECKOUT, Running, get
from tests.ports import ports
from tests.waiting import until

EXAMPLES = CHECKOUT / "examples"


@contextmanager
def started(name: str, folder: Path) -> Iterator[int]:
    """The port of the gateway in front of the example's application, both started by the commands of its page."""
    (block,) = blocks(EXAMPLES / name / "README.md", "sh")
    front, behind = ports(2)
    text = (EXAMPLES / name / "gateway.toml").read_text()
    settings = tomllib.loads(text)
    text = text.replace(settings["bind"], f"127.0.0.1:{front}").replace(settings["upstream"], f"127.0.0.1:{behind}")
    text = text.replace('"static"', f'"{EXAMPLES / name / "static"}"')
    (folder / "gateway.toml").write_text('admin = "off"\nworkers = 1\n' + text)
    application, gateway = block.text.replace(settings["upstream"].partition(":")[2], str(behind)).splitlines()
    command = [str(Path(sys.executable).with_name(word)) if not number else word
               for number, word in enumerate(shlex.split(application))]  # fmt: skip
    proxy = [str(Path(sys.executable).with_name("aragora-proxy")), *shlex.split(gateway, comments=True)[1:]]
    with (
        Running(*command, log=folder / "app.log", cwd=EXAMPLES / name) as running,
        Running(*proxy, log=folder / "gateway.log", cwd=folder) as gate,
    ):

        def ready() -> bool:
            assert running.process.poll() is None, running.output()
            assert gate.process.poll() is None, gate.output()
            try:
                return get(front, "/").status_code == 200
            except OSError:
                return False

        until(ready, f"an answer of {name}")
        yield front


@pytest.mark.parametrize("name", ["flask", "django", "fastapi"])
def test_a_framework_knows_its_client_and_its_address(name: str, tmp_path: Path) -> None:
    with started(name, tmp_path) as port:
        assert get(port, "/").json() == {"url": f"http://127.0.0.1:{port}/", "client": "127.0.0.1"}
        if name == "django":
            assert get(port, "/static/site.css").headers["Content-Type"].startswith("text/css")
        if name == "fastapi":
            socket = create_connection(f"ws://127.0.0.1:{port}/echo", timeout=30)
            socket.send("through the gateway")
            assert socket.recv() == "through the gateway"
            socket.close()


@pytest.mark.component("streamlit")
def test_streamlit_is_served_over_its_websocket(tmp_path: Path) -> None:
    with started("streamlit", tmp_path) as port:
        assert get(port, "/_stcore/health").text == "ok"
        socket = create_connection(
            f"ws://127.0.0.1:{port}/_stcore/stream", timeout=30, origin=f"http://127.0.0.1:{port}"
        )
        assert socket.connected
        socket.close()


def test_the_containers_start_what_exists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    services = yaml.safe_load((EXAMPLES / "compose" / "compose.yaml").read_text())["services"]
    for service in services.values():
        context = EXAMPLES / "compose" / service["build"]["context"]
        assert (context / service["build"]["dockerfile"]).is_file()
        assert {"app.py", "requirements.txt"} <= {file.name for file in context.iterdir()}
    name, *flags = services["gateway"]["command"]
    assert name == "aragora-proxy"
    (tmp_path / "empty.toml").touch()
    assert main(["check", str(tmp_path / "empty.toml"), *flags]) == 0, capsys.readouterr().err
    assert f"app:{services['app']['command'][3].partition(':')[2]}" in flags


@pytest.mark.component("docker-compose")
def test_the_composition_is_one() -> None:
    command = [program("docker-compose") or "", "-f", str(EXAMPLES / "compose" / "compose.yaml"), "config", "--quiet"]
    read = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert read.returncode == 0, read.stderr


def test_every_directory_is_on_the_list() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    assert [place.name for place in EXAMPLES.iterdir() if place.is_dir() and f"({place.name}/)" not in listed] == []
