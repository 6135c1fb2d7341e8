"""What the Compose files say, as Compose itself understands them."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.deployment.processes import CHECKOUT

COMPOSE = CHECKOUT / "conf" / "compose"


def composition(*files: str) -> dict[str, Any]:
    """These files together, checked, merged and completed by docker-compose."""
    named = [part for file in files for part in ("-f", str(COMPOSE / file))]
    ended = subprocess.run(
        ["docker-compose", *named, "config"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr, ended.stderr
    document: dict[str, Any] = yaml.safe_load(ended.stdout)
    return document


def services(*files: str) -> dict[str, Any]:
    """Their services alone."""
    found: dict[str, Any] = composition(*files)["services"]
    return found


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key, by the names of the composition's secrets."""
    made = directory / "tls_cert", directory / "tls_key"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-out", str(made[0]), "-keyout", str(made[1]))
    subprocess.run(["openssl", "req", "-x509", *kind, *name, *files], check=True, capture_output=True, timeout=60)
    return made
