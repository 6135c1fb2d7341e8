"""What several files of these tests share."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with nothing but this checkout's release in it, made by the installer."""
    root = tmp_path_factory.mktemp("released")
    made = subprocess.run(
        [CHECKOUT / "scripts" / "install", "--root", root, "--release", "--no-compile"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert made.returncode == 0, made.stderr
    assert (root / made.stdout.splitlines()[-1].removeprefix("/") / ".complete").exists()
    yield root
    shutil.rmtree(root)
