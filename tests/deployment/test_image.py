"""The image of `conf/docker/Dockerfile`, really built, and the containers of `conf/compose/compose.yaml` from it."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import image
from tests.deployment.compositions import COMPOSE, services
from tests.deployment.processes import CHECKOUT, until

pytestmark = [
    pytest.mark.component("buildah", "debootstrap", "docker-compose"),
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image without a daemon needs root"),
    pytest.mark.timeout(900),
]

TOKEN = "a-token-from-a-file-of-its-own"
# What the image adds to its base.
LARGEST = 130 << 20


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The configuration of the built image."""
    return image.build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def root(config: dict[str, Any]) -> Iterator[Path]:
    with image.mounted() as path:
        yield path


def test_the_image_says_how_it_is_to_be_run(config: dict[str, Any]) -> None:
    told = config["config"]
    assert told["User"] == "10001:10001"
    assert told["Cmd"] == ["gunicorn", "--config", "/etc/aragora/gunicorn.conf.py"]
    assert set(told["ExposedPorts"]) == {"8080/tcp", "8766/tcp"}
    assert set(told["Volumes"]) == {"/var/lib/aragora"}
    assert told["Healthcheck"]["Test"][0] == "CMD"
    assert not any("TOKEN" in variable or "PASSWORD" in variable for variable in told["Env"])


def test_the_image_holds_what_runs_and_nothing_else(root: Path) -> None:
    own = root / "opt" / "aragora"
    assert sum(path.lstat().st_size for path in own.rglob("*")) < LARGEST
    packages = {path.name for path in own.glob("lib/python3*/site-packages/*")}
    assert {"aragora", "proxy", "psycopg", "redis"} <= packages
    assert not packages & {"pip", "setuptools", "pytest", "tests"}
    assert not [name for name in ("source", "work", ".git", "var/lib/aragora/aragora.db") if (root / name).exists()]
    assert not list(root.glob("usr/bin/*gcc*"))
    data = (root / "var/lib/aragora").stat()
    assert (data.st_uid, data.st_mode & 0o777) == (image.USER, 0o750)
    assert (root / "etc/aragora/gunicorn.conf.py").read_text() == (CHECKOUT / "conf/gunicorn.conf.py").read_text()


def test_containers_of_the_composition_answer_a_debate(config: dict[str, Any], root: Path, tmp_path: Path) -> None:
    composed = services("compose.yaml")
    # The databases of the composition are other images, which no registry hands out here: this one debates on SQLite.
    environ = {
        name: value
        for name, value in composed["application"]["environment"].items()
        if name not in {"DATABASE_URL_FILE", "ARAGORA_REDIS_URL", "ARAGORA_MIGRATE"}
    }
    token = {"ARAGORA_API_TOKEN_FILE": environ["ARAGORA_API_TOKEN_FILE"]}
    told = config["config"]
    health = {"application": told["Healthcheck"]["Test"][1:], "gateway": composed["gateway"]["healthcheck"]["test"][1:]}
    with ExitStack() as stack:
        pod = stack.enter_context(image.Pod(root, told, tmp_path))
        pod.mount("/etc/hosts", "127.0.0.1 localhost application\n")
        pod.mount("/etc/aragora/gateway.toml", (COMPOSE / "gateway.toml").read_text())
        pod.mount(token["ARAGORA_API_TOKEN_FILE"], f"{TOKEN}\n")
        assert pod.run(*health["application"]).returncode == 1

        application = stack.enter_context(pod.start(*told["Cmd"], **environ))
        until(lambda: pod.run(*health["application"]).returncode == 0, "health of the application")
        gateway = stack.enter_context(pod.start(*composed["gateway"]["command"]))
        until(lambda: pod.run(*health["gateway"]).returncode == 0, "health of the gateway")

        question = ("aragora", "ask", "Should we adopt event sourcing?", "--agents", "demo,demo,demo", "--rounds", "1")
        asked = pod.run(*question, "--json", ARAGORA_URL="http://127.0.0.1:8000", **token)
        assert asked.returncode == 0, asked.stdout + asked.stderr + application.output() + gateway.output()
        assert json.loads(asked.stdout.splitlines()[-1])
        strange = pod.run(*question, ARAGORA_URL="http://127.0.0.1:8000")
        assert strange.returncode != 0

        refused = pod.run("touch", "/opt/aragora/written")
        assert "Read-only file system" in refused.stderr
        assert pod.run("id", "-u").stdout.strip() == told["User"].partition(":")[0]
        assert image.stop(gateway) == 0
        assert image.stop(application) == 0
