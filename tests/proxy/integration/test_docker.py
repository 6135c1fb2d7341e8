"""Docker's own client to a stand-in for its daemon, through the gateway of the guide: exec and attach hijack
their connections."""

import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ROOT, program
from tests.deployment.pages import blocks, moved
from tests.proxy.gateway import Gateway
from tests.proxy.integration.docker_daemon import Daemon
from tests.waiting import PATIENCE, until


def docker(gateway: Gateway, *words: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run Docker's client, and end its input."""
    command = [program("docker") or "docker", "--host", f"tcp://127.0.0.1:{gateway.port}", *words]
    environ = {**os.environ, "DOCKER_CONFIG": str(gateway.directory), "DOCKER_CLI_HINTS": "false"}
    return subprocess.run(command, input=given, capture_output=True, env=environ, timeout=PATIENCE, check=False)


@pytest.mark.component("docker")
@pytest.mark.parametrize(("words", "code"), [(("exec", "-i", "app", "cat"), 7), (("attach", "app"), 0)])
def test_dockers_client_has_both_streams(
    start: Callable[..., Gateway], tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    with closing(Daemon()) as daemon:
        (settings,) = blocks(ROOT / "docs/howto/upgrades.md", "toml")
        file = tmp_path / "proxy.toml"
        file.write_text(
            moved(settings.text, tmp_path, {"unix:/run/docker.sock": daemon.address, "127.0.0.1:2375": "127.0.0.1:0"})
        )
        gateway = start("", "--config", str(file))
        given = b"a line\n" * 30_000
        done = docker(gateway, *words, given=given)
        assert done.stdout == b"ready\n" + given.upper() + b"the end\n", done.stderr
        assert done.returncode == code
        (upgraded,) = [one for one in daemon.asked if one[2]]
        assert (upgraded[0], upgraded[2]) == ("POST", "tcp")
        assert ("Detach" in upgraded[3].decode()) == (words[0] == "exec")
        tunnelled = until(lambda: [line for line in gateway.logged() if line["status"] == 101], "the log line")
        assert [line["termination"] for line in tunnelled] == ["--"]
