"""kubectl to a stand-in for its API server, through the gateway: `exec` upgrades its connection to SPDY/3.1."""

import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import program
from tests.proxy.gateway import Gateway
from tests.proxy.integration.kubernetes_api import Cluster
from tests.waiting import PATIENCE, until


@pytest.mark.component("kubectl")
def test_kubectl_has_all_streams_of_a_command(start: Callable[..., Gateway], tmp_path: Path) -> None:
    with closing(Cluster()) as cluster:
        file = tmp_path / "proxy.toml"
        file.write_text(f'bind = "127.0.0.1:0"\nupstream = "{cluster.address}"\nupgrade = ["SPDY/3.1", "websocket"]\n')
        gateway = start("", "--config", str(file))
        server = f"http://127.0.0.1:{gateway.port}"
        command = [program("kubectl") or "kubectl", "--kubeconfig", os.devnull, "--server", server]
        given = b"a line\n" * 30_000
        done = subprocess.run(
            [*command, "exec", "-i", "app", "--", "cat"],
            input=given, capture_output=True, env={**os.environ, "HOME": str(tmp_path)}, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.stdout == given.upper(), done.stderr
        assert b"the end" in done.stderr
        assert done.returncode == 0
        assert ("POST", "/api/v1/namespaces/default/pods/app/exec", "SPDY/3.1") in cluster.asked
        tunnelled = until(lambda: [line for line in gateway.logged() if line["status"] == 101], "the log line")
        assert [line["termination"] for line in tunnelled] == ["--"]
