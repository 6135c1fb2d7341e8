"""The distribution as the index would have it: built, installed into bare environments, and run there."""

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
        ("pip", "install", "--python", place / "bin" / "python", "-c", CHECKOUT / "conf/requirements/release.txt",
         *requirements),
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


def test_the_sdist_has_docs_configuration_and_tests(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "README.md",
        "CHANGELOG.md",
        "docs/README.md",
        "conf/proxy.toml",
        "scripts/up",
        "tests/conftest.py",
    } <= names


def test_the_gateway_alone_is_small(core: Path) -> None:
    listed = run(UV, "pip", "list", "--python", core / "python", "--format", "freeze").stdout.split()
    assert len(listed) <= MOST_PACKAGES, listed
    size = sum(file.stat().st_size for file in core.parent.rglob("*") if file.is_file() and not file.is_symlink())
    assert size <= MOST_MEGABYTES << 20, f"{size >> 20} MB"


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
