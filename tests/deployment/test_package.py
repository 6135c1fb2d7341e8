"""The distribution as the index would have it: built, installed into bare environments, and run there."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT

pytestmark = pytest.mark.component("git")

UV = Path(sys.executable).with_name("uv")
MOST_PACKAGES, MOST_MEGABYTES = 30, 65


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    tracked = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=CHECKOUT).stdout.split(
        "\0"
    )
    for name in filter(None, tracked):
        if (CHECKOUT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, source / name)
    made = run(UV, "build", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder, source)
    assert made.returncode == 0, made.stderr
    return folder


def environment(place: Path, *requirements: str) -> Path:
    """The program directory of a new environment with these and what they need, in the releases that are locked."""
    for command in (
        ("venv", "--python", sys.executable, place),
        ("pip", "install", "--compile-bytecode", "--python", place / "bin" / "python",
         "-c", CHECKOUT / "conf/requirements/release.txt", *requirements),
    ):  # fmt: skip
        done = run(UV, *command)
        assert done.returncode == 0, done.stderr
    return place / "bin"


@pytest.fixture(scope="module")
def core(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment that has the gateway alone."""
    (wheel,) = built.glob("*.whl")
    return environment(tmp_path_factory.mktemp("core") / "venv", str(wheel))


def test_the_wheel_has_pages_migrations_and_configuration(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "proxy/admin/page/index.html", "aragora/server/console/index.html", "aragora/storage/migrations/env.py",
        "share/aragora/gunicorn.conf.py", "share/aragora/proxy.toml", "proxy/py.typed",
    ):  # fmt: skip
        assert any(name.endswith(part) for name in names), part
    assert not [name for name in names if name.startswith("tests/")]


def test_the_sdist_has_every_file_of_the_checkout(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = set(run("git", "ls-files", cwd=CHECKOUT).stdout.split())
    assert {name for name in tracked if (CHECKOUT / name).is_file()} <= names


def test_the_gateway_alone_is_as_small_as_documented(core: Path) -> None:
    listed = run(UV, "pip", "list", "--python", core / "python", "--format", "freeze").stdout.split()
    size = sum(file.stat().st_size for file in core.parent.rglob("*") if file.is_file() and not file.is_symlink())
    documented = re.findall(r"(\d+) packages\s+and\s+(\d+) MB", (CHECKOUT / "README.md").read_text())
    assert documented, "README.md says how many packages and MB the gateway brings"
    backports = [name for name in listed if name.startswith("typing-extensions")]  # none from Python 3.13 on
    for packages, megabytes in documented:
        assert int(packages) - len(listed) == (not backports), listed
        assert len(listed) <= MOST_PACKAGES
        assert size / 1e6 == pytest.approx(int(megabytes), rel=0.1), "MB in README.md"
    assert size / 1e6 <= MOST_MEGABYTES


def bare(home: Path) -> dict[str, str]:
    """A newcomer's environment: a home with nothing in it, and how this machine reaches the index."""
    index = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    # without hashes, which pip would ask of the wheel too
    constraint = home / "constraints.txt"
    locked = (CHECKOUT / "conf/requirements/release.txt").read_text()
    constraint.write_text("\n".join(re.findall(r"^\S+==[^\\\n]*", locked, re.MULTILINE)))
    return {
        **index,
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "PIP_CONSTRAINT": str(constraint),
        "UV_CONSTRAINT": str(constraint),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv")),
    }


# The program, what it is called with, and where it puts the command.
INSTALLERS = {
    "pip": ([(sys.executable, "-m", "venv", "gateway"), ("gateway/bin/pip", "install", "{wheel}")], "gateway/bin"),
    "pipx": (
        [(sys.executable, "-m", "pipx", "install", "--backend", "pip", "--python", sys.executable, "{wheel}")],
        ".local/bin",
    ),
    "uv tool": ([(str(UV), "tool", "install", "--python", sys.executable, "{wheel}")], ".local/bin"),
}


@pytest.mark.parametrize("installer", INSTALLERS)
def test_each_installer_brings_the_command(built: Path, tmp_path: Path, installer: str) -> None:
    (wheel,) = built.glob("*.whl")
    commands, programs = INSTALLERS[installer]
    environ = bare(tmp_path)
    for command in commands:
        done = run(*(word.format(wheel=wheel) for word in command), cwd=tmp_path, env=environ)
        assert done.returncode == 0, done.stdout + done.stderr
    # what a web project's folder may well hold, and `python -m proxy` would start
    (tmp_path / "proxy.py").write_text("raise SystemExit('the wrong program')\n")
    said = run(tmp_path / programs / "aragora-proxy", "--version", cwd=tmp_path, env=environ)
    assert (said.returncode, said.stdout.split()[0]) == (0, "aragora-proxy"), said.stderr


def test_the_gateway_alone_checks_and_reports_its_version(core: Path, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text('upstream = "127.0.0.1:8080"\n')
    assert "good" in run(core / "aragora-proxy", "check", file).stdout
    assert run(core / "aragora-proxy", "--version").stdout.startswith("aragora-proxy ")


def test_the_service_without_its_extra_names_what_to_install(core: Path) -> None:
    asked = run(core / "aragora", "migrate")
    assert asked.returncode == 2
    assert "pip install 'aragora-gateway[debates]'" in asked.stderr
    assert "Traceback" not in asked.stderr


def test_a_namesake_of_the_package_proxy_is_named(core: Path, tmp_path: Path) -> None:
    (packages,) = core.parent.glob("lib/python*/site-packages")
    namesake = packages / "proxy.py-2.4.10.dist-info"
    namesake.mkdir()
    (namesake / "METADATA").write_text("Metadata-Version: 2.1\nName: proxy.py\nVersion: 2.4.10\n")
    try:
        started = run(core / "aragora-proxy", "--upstream", "127.0.0.1:8080", cwd=tmp_path)
    finally:
        shutil.rmtree(namesake)
    assert started.returncode == 2
    assert "proxy.py 2.4.10 is installed" in started.stderr


def test_the_wheel_with_debates_finds_its_configuration(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    programs = environment(tmp_path / "venv", f"{wheel}[debates]")
    found = run(programs / "aragora", "gunicorn-config", cwd=tmp_path)
    assert found.stdout.endswith("share/aragora/gunicorn.conf.py\n"), found.stderr
    environ = {"ARAGORA_DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    checked = run(programs / "aragora", "start", "--check-config", cwd=tmp_path, env=environ)
    assert checked.returncode == 0, checked.stderr
