"""The image of `conf/docker/gateway.Dockerfile`, really built, in front of an application that is not ours."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import image
from tests.waiting import until

pytestmark = [
    pytest.mark.component("buildah", "debootstrap", "curl"),
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image without a daemon needs root"),
    pytest.mark.timeout(1200),
    pytest.mark.long,
]

TAG = "localhost/aragora-test-gateway"
LARGEST = 110 << 20
"""What the image adds to its base."""
SLOW = 120.0  # seconds: containers start from a cold disk


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    built = image.build(tmp_path_factory.mktemp("build"), "gateway.Dockerfile", TAG)
    told: dict[str, Any] = built["config"]
    return told


@pytest.fixture(scope="module")
def root(config: dict[str, Any]) -> Iterator[Path]:
    with image.mounted(TAG) as path:
        yield path


def test_the_image_has_the_gateway_and_nothing_else(config: dict[str, Any], root: Path) -> None:
    assert (config["User"], config["Entrypoint"]) == ("10001:10001", ["aragora-proxy"])
    assert set(config["Volumes"]) == {"/var/lib/gateway"}
    own = root / "opt" / "gateway"
    assert sum(path.lstat().st_size for path in own.rglob("*")) < LARGEST
    (site,) = own.glob("lib/python3*/site-packages")
    packages = {path.name for path in site.iterdir()}
    assert {"proxy", "brotli", "opentelemetry"} <= {name.partition(".")[0] for name in packages}
    assert not packages & {"aragora", "pip", "setuptools", "falcon", "sqlalchemy", "mypy"}
    assert not list(root.glob("usr/bin/*gcc*"))
    assert not (root / "source").exists()


def test_it_serves_on_a_root_that_it_cannot_write_to(config: dict[str, Any], root: Path, tmp_path: Path) -> None:
    (program,) = config["Entrypoint"]
    health = config["Healthcheck"]["Test"][1:]
    application = (
        "/usr/bin/python3",
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "--directory",
        "/etc/systemd",
        "8080",
    )
    fetch = ("curl", "--silent", "--fail", "--insecure", "--max-time", "20", "https://127.0.0.1:8443/system.conf")
    with image.Pod(root, config, tmp_path) as pod, pod.beside(*application, user="daemon"):
        assert pod.run(program, "--version").stdout.endswith(" (compiled)\n")
        assert "Read-only file system" in pod.run("touch", "/opt/gateway/written").stderr
        assert pod.run(*health).returncode == 1
        serve = (program, "--bind", "127.0.0.1:8443", "--tls", "self-signed", "--upstream", "127.0.0.1:8080")
        with pod.start(*serve) as gateway:
            until(lambda: pod.run(*health).returncode == 0, "health of the gateway", SLOW)
            until(lambda: pod.run_beside(*fetch, user="daemon").returncode == 0, "the application", SLOW)
            assert image.stop(gateway) == 0
