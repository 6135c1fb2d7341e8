"""conf/requirements says which releases are installed: the files fit setup.cfg, and nothing else is ever installed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT

LOCKS = CHECKOUT / "conf" / "requirements"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What scripts/lock looks at, to be changed."""
    shutil.copytree(LOCKS, tmp_path / "conf" / "requirements")
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/lock", "setup.cfg", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, tmp_path / name)
    return tmp_path


def check(checkout: Path) -> tuple[int, str]:
    """Exit code and complaints of `scripts/lock --check`, where no index can be reached."""
    command = [sys.executable, checkout / "scripts" / "lock", "--check"]
    nowhere = {"UV_INDEX_URL": "http://127.0.0.1:9", "PIP_INDEX_URL": "http://127.0.0.1:9"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | nowhere)
    return ended.returncode, ended.stderr


def edit(file: Path, change: Callable[[str], str]) -> None:
    before = file.read_text()
    after = change(before)
    assert after != before
    file.write_text(after)


def test_the_locks_fit_what_is_required(checkout: Path) -> None:
    assert check(checkout) == (0, "")


def without(name: str) -> Callable[[str], str]:
    """A lock that has lost a package."""
    return lambda text: re.sub(rf"^{name}==(?:.*\\\n)*.*\n", "", text, flags=re.MULTILINE)


# The file, what is done to it, and what is said of that.
DRIFTS = {
    "a dependency that was added": (
        "setup.cfg",
        lambda text: text.replace("install_requires =\n", "install_requires =\n    tzdata>=2024\n"),
        "release.txt: tzdata>=2024 is needed and missing for Python 3.14 on aarch64",
    ),
    "one of the tests": (
        "setup.cfg",
        lambda text: text.replace("dev =\n", "dev =\n    pytz>=2024\n"),
        "dev.txt: pytz>=2024 is needed and missing for Python 3.11 on x86_64",
    ),
    "one of an extra": (
        "setup.cfg",
        lambda text: text.replace("redis =\n", "redis =\n    tzdata>=2024\n"),
        "release.txt: tzdata>=2024 is needed and missing for Python 3.12 on x86_64",
    ),
    "a bound that was raised": (
        "setup.cfg",
        lambda text: re.sub(r"bcrypt>=[\d.]+", "bcrypt>=99", text),
        r"release.txt: bcrypt==[\d.]+ does not fit bcrypt>=99 for",
    ),
    "a builder that was raised": (
        "pyproject.toml",
        lambda text: re.sub(r"setuptools>=\d+", "setuptools>=9999", text),
        r"build.txt: setuptools==[\d.]+ does not fit setuptools>=9999 for",
    ),
    "a dependency that was removed": (
        "setup.cfg",
        lambda text: re.sub(r" *falcon>=.*\n", "", text),
        r"release.txt: falcon==[\d.]+ is needed by nothing",
    ),
    "a dependency's dependency that is gone": (
        "conf/requirements/release.txt",
        without("mdurl"),
        "release.txt: mdurl~=0.1 is needed and missing for",
    ),
    "a hash that is gone": (
        "conf/requirements/release.txt",
        lambda text: re.sub(r"^(mdurl==[\d.]+).*\n(?: .*\n)+", r"\1\n", text, flags=re.MULTILINE),
        r"release.txt: mdurl==[\d.]+ has no hash",
    ),
    "two locks that differ": (
        "conf/requirements/dev.txt",
        lambda text: re.sub(r"^wsproto==[\d.]+", "wsproto==1.2.0", text, flags=re.MULTILINE),
        r"dev.txt: wsproto==[\d.]+ of release.txt is another there",
    ),
    "a lock that is gone": (
        "conf/requirements/build.txt",
        None,
        "build.txt: No such file or directory; scripts/lock writes it",
    ),
}


@pytest.mark.parametrize(("name", "change", "said"), DRIFTS.values(), ids=DRIFTS)
def test_a_lock_that_does_not_fit_is_told(
    checkout: Path, name: str, change: Callable[[str], str] | None, said: str
) -> None:
    if change is None:
        (checkout / name).unlink()
    else:
        edit(checkout / name, change)
    code, complaints = check(checkout)
    assert code == 1
    assert re.search(said, complaints), complaints


@pytest.mark.component("systemd")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
def test_a_package_with_another_content_is_not_installed(tmp_path: Path) -> None:
    checkout, root = tmp_path / "checkout", tmp_path / "root"
    names = ("aragora", "proxy", "conf", "scripts", "setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE")
    checkout.mkdir()
    root.mkdir()
    subprocess.run(["cp", "-r", *names, checkout], cwd=CHECKOUT, check=True, timeout=60)
    # One small package, of the release that is locked and with every hash wrong.
    (kept,) = re.findall(r"^mdurl==[\d.]+", (LOCKS / "release.txt").read_text(), re.MULTILINE)
    (checkout / "conf/requirements/release.txt").write_text(f"{kept} --hash=sha256:{'0' * 64}\n")
    command = [checkout / "scripts" / "install", "--root", root, "--release"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode != 0
    assert "DO NOT MATCH THE HASHES" in ended.stderr
    assert not list(root.rglob(".complete"))


@pytest.mark.parametrize(
    "name", ["scripts/install", "conf/docker/Dockerfile", "conf/docker/gateway.Dockerfile", "scripts/venv"]
)
def test_nothing_is_installed_but_what_is_locked(name: str) -> None:
    text = (CHECKOUT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    installs = [line for line in lines if re.search(r"pip (install|--)|pip install", line) and "$@" not in line]
    assert installs
    for line in installs:
        assert "--require-hashes" in line or ("--no-deps" in line and "--no-build-isolation" in line), line
