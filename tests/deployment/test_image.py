"""The image of `conf/docker/Dockerfile`, really built, and containers of it as Compose and Kubernetes are told."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import image
from tests.deployment.compositions import COMPOSE, certificate, services
from tests.deployment.manifests import Manifest, container, named, pods
from tests.deployment.processes import CHECKOUT
from tests.deployment.stores import stores
from tests.waiting import until

pytestmark = [
    pytest.mark.component("buildah", "debootstrap", "docker-compose", "openssl", "postgresql", "redis"),
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image without a daemon needs root"),
    pytest.mark.timeout(900),
    pytest.mark.long,
]

TOKEN = "a-token-from-a-file-of-its-own"
# What the image adds to its base.
LARGEST = 140 << 20
SLOW = 120.0  # seconds: containers start from a cold disk


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The configuration of the image, built as the composition asks for it."""
    arguments = services("compose.yaml")["application"]["build"]["args"]
    return image.build(tmp_path_factory.mktemp("build"), **arguments)


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


def files(package: Path) -> set[Path]:
    """All files of an installed package, data files included."""
    found = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
    return {path for path in found if path.suffix != ".pyc"}


def test_the_gateway_in_the_image_is_compiled(config: dict[str, Any], root: Path, tmp_path: Path) -> None:
    with image.Pod(root, config["config"], tmp_path) as pod:
        said = pod.run("aragora-proxy", "--version")
    assert said.stdout.endswith(" (compiled)\n"), said.stderr


def test_the_image_holds_what_runs_and_nothing_else(root: Path) -> None:
    own = root / "opt" / "aragora"
    assert sum(path.lstat().st_size for path in own.rglob("*")) < LARGEST
    packages = {path.name for path in own.glob("lib/python3*/site-packages/*")}
    assert {"aragora", "proxy", "psycopg", "redis"} <= packages
    assert not packages & {"pip", "setuptools", "pytest", "tests", "mypy", "mypyc", "compile"}
    (site,) = own.glob("lib/python3*/site-packages")
    for product in ("aragora", "proxy"):
        assert {path for path in files(site / product) if path.suffix != ".so"} == files(CHECKOUT / product)
    assert not [name for name in ("source", "work", ".git", "var/lib/aragora/aragora.db") if (root / name).exists()]
    assert not list(root.glob("usr/bin/*gcc*"))
    data = (root / "var/lib/aragora").stat()
    assert (data.st_uid, data.st_mode & 0o777) == (image.USER, 0o750)
    assert (root / "etc/aragora/gunicorn.conf.py").read_text() == (CHECKOUT / "conf/gunicorn.conf.py").read_text()


@dataclass
class Plan:
    """What Compose or Kubernetes is told about the two containers."""

    environ: dict[str, str]  # of the application
    probes: list[list[str]]  # of the application
    command: list[str]  # of the gateway
    probe: list[str]  # of the gateway
    files: dict[str, str]  # what is mounted where
    hosts: str  # names of what is in the same network
    services: dict[str, Any]  # of Compose: the stores and the migration


def by_compose(told: dict[str, Any], secrets: tuple[str, str]) -> Plan:
    """As `compose.yaml` has it."""
    composed = services("compose.yaml")
    environ = composed["application"]["environment"]
    gateway = composed["gateway"]
    return Plan(
        environ=environ,
        probes=[told["Healthcheck"]["Test"][1:]],
        command=gateway["command"],
        probe=gateway["healthcheck"]["test"][1:],
        files={
            "/etc/aragora/gateway.toml": (COMPOSE / "gateway.toml").read_text(),
            environ["ARAGORA_API_TOKEN_FILE"]: TOKEN,
            environ["DATABASE_URL_FILE"]: f"postgresql://aragora:{TOKEN}@postgres/aragora",
            **dict(zip(("/run/secrets/tls_cert", "/run/secrets/tls_key"), secrets, strict=True)),
        },
        hosts="application postgres redis",
        services=composed,
    )


def by_kubernetes(told: dict[str, Any], secrets: tuple[str, str]) -> Plan:
    """As the overlay `small` has it; the image's own health check stands for a kubelet that asks over HTTP."""
    environ = named("small", "ConfigMap")["data"]
    application, gateway = (container(pods("small")[name]) for name in ("aragora", "aragora-gateway"))
    settings = Path(gateway["command"][-1])

    def probe(pod: Manifest, kind: str) -> list[str]:
        asked = pod[kind]["httpGet"]
        (port,) = [port["containerPort"] for port in pod["ports"] if port["name"] == asked["port"]]
        own = told["Healthcheck"]["Test"][1:]
        return [part.replace("/healthz", asked["path"]).replace("8080", str(port)) for part in own]

    return Plan(
        environ=environ,
        probes=[probe(application, "livenessProbe"), probe(application, "readinessProbe")],
        command=gateway["command"],
        probe=probe(gateway, "readinessProbe"),
        files={
            str(settings): named("small", "ConfigMap", "aragora-gateway")["data"][settings.name],
            "/run/secrets/aragora-gateway/admin-token": TOKEN,
            environ["ARAGORA_API_TOKEN_FILE"]: TOKEN,
            **dict(zip((f"/run/secrets/aragora-tls/tls.{end}" for end in ("crt", "key")), secrets, strict=True)),
        },
        hosts=named("small", "Service")["metadata"]["name"],
        services={},
    )


@pytest.mark.parametrize("plan", [by_compose, by_kubernetes])
def test_both_containers_answer_a_debate(
    config: dict[str, Any], root: Path, tmp_path: Path, plan: Callable[..., Plan]
) -> None:
    told = config["config"]
    chain, key = (path.read_text() for path in certificate(tmp_path))
    planned = plan(told, (chain, key))
    token = {"ARAGORA_API_TOKEN_FILE": planned.environ["ARAGORA_API_TOKEN_FILE"]}
    with ExitStack() as stack:
        pod = stack.enter_context(image.Pod(root, told, tmp_path))
        pod.mount("/etc/hosts", f"127.0.0.1 localhost {planned.hosts}\n")
        for place, content in planned.files.items():
            pod.mount(place, content)
        assert pod.run(*planned.probes[0]).returncode == 1
        if planned.services:
            stack.enter_context(stores(pod, planned.services, TOKEN))
            migrate = planned.services["migrate"]
            migrated = pod.run(*migrate["command"], **migrate["environment"])
            assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        examined = pod.run("aragora", "doctor", "--production", **planned.environ)
        assert examined.returncode == 0, examined.stdout
        if planned.services:
            assert "database: PostgreSQL answers" in examined.stdout
            assert "redis: answers" in examined.stdout

        application = stack.enter_context(pod.start(*told["Cmd"], **planned.environ))
        for probe in planned.probes:
            until(lambda probe=probe: pod.run(*probe).returncode == 0, "health of the application", SLOW)
        gateway = stack.enter_context(pod.start(*planned.command))
        until(lambda: pod.run(*planned.probe).returncode == 0, "health of the gateway", SLOW)

        pod.mount("/etc/authority.pem", chain)
        client = dict.fromkeys(("REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"), "/etc/authority.pem")
        client["ARAGORA_URL"] = "https://localhost:8443"
        question = ("aragora", "ask", "Should we adopt event sourcing?", "--agents", "demo,demo,demo", "--rounds", "1")
        asked = pod.run(*question, "--json", **client, **token)
        assert asked.returncode == 0, asked.stdout + asked.stderr + application.output() + gateway.output()
        assert json.loads(asked.stdout.splitlines()[-1])
        assert pod.run(*question, **client).returncode != 0
        copy(pod, stack, planned)
        assert image.stop(gateway) == 0
        assert image.stop(application) == 0


def copy(pod: image.Pod, stack: ExitStack, planned: Plan) -> None:
    """A backup as the page of each makes it, read back."""
    if planned.services:
        backup = planned.services["backup"]
        copying = stack.enter_context(pod.start(*backup["command"], **backup["environment"]))
        until(lambda: "verified" in copying.output(), "a verified copy", SLOW)
        page, tool = "compose", "backup"
    else:
        page, tool = "kubernetes", "--"
    (told,) = re.findall(rf"exec .*{tool} sh -c '(.*)'", (CHECKOUT / f"docs/deployment/{page}.md").read_text())
    copied = pod.run("sh", "-euc", told, **planned.environ)
    assert copied.returncode == 0, copied.stderr
    assert copied.stdout.startswith("1 debates with")


def test_a_container_cannot_change_itself(config: dict[str, Any], root: Path, tmp_path: Path) -> None:
    with image.Pod(root, config["config"], tmp_path) as pod:
        assert "Read-only file system" in pod.run("touch", "/opt/aragora/written").stderr
        assert pod.run("touch", "written").returncode == 0
        status = pod.run("cat", "/proc/self/status").stdout
        assert f"Uid:\t{image.USER}" in status
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        drivers = pod.run("python3", "-c", "import psycopg.pq, redis; print(psycopg.pq.__impl__)")
        assert drivers.stdout.strip() == "binary", drivers.stderr
