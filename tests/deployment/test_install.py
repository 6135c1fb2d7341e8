"""scripts/install into a root of its own: what it lays where, twice, and how it goes away again."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT

pytestmark = [
    pytest.mark.component("systemd"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can install"),
    pytest.mark.timeout(300),  # a release is made first
]


@pytest.fixture
def root(released: Path, tmp_path: Path) -> Path:
    """A root in which the release is made already; its files are links to the shared ones."""
    place = tmp_path / "root"
    place.mkdir()
    subprocess.run(["cp", "-al", released / "opt", place / "opt"], check=True, timeout=60)
    return place


def install(root: Path, *arguments: str, code: int = 0, **environ: str) -> str:
    """What the installer says, on both streams."""
    ended = subprocess.run(
        [CHECKOUT / "scripts" / "install", "--root", root, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "COMPILE_GATEWAY": "0", **environ},
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def tree(root: Path) -> dict[str, tuple[int, int, int, str]]:
    """Mode, owner, group and target or content of everything outside the releases."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith("opt/aragora/releases/"):
            continue
        about = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[name] = (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid, content)
    return found


def account(root: Path) -> tuple[int, int]:
    """User and group id of the services in that root."""
    (line,) = [line for line in (root / "etc/passwd").read_text().splitlines() if line.startswith("aragora:")]
    return int(line.split(":")[2]), int(line.split(":")[3])


def test_everything_is_laid_where_it_belongs(root: Path) -> None:
    install(root)
    uid, gid = account(root)
    laid = tree(root)
    for unit in (CHECKOUT / "conf" / "systemd").iterdir():
        assert laid[f"usr/local/lib/systemd/system/{unit.name}"] == (0o644, 0, 0, unit.read_text())
    for name, mode in (("aragora.env", 0o640), ("api-token", 0o640), ("proxy.toml", 0o640)):
        assert laid[f"etc/aragora/{name}"][:3] == (mode, 0, gid)
    for name, mode in (("run", 0o750), ("var/lib", 0o750)):
        assert laid[f"{name}/aragora"][:3] == (mode, uid, gid)
    assert laid["var/lib/aragora/gateway"][:3] == (0o700, uid, gid)
    assert laid["var/log/aragora"][:2] == (0o750, uid)
    release = laid["opt/aragora/current"][3]
    assert laid["opt/aragora/blue"][3] == release
    assert "opt/aragora/green" not in laid
    wants = "etc/systemd/system"
    for unit in (
        "sockets.target.wants/aragora-gateway.socket",
        "sockets.target.wants/aragora-gateway-plain.socket",
        "sockets.target.wants/aragora-local.socket",
        "multi-user.target.wants/aragora@blue.service",
        "multi-user.target.wants/aragora-gateway.service",
        "timers.target.wants/aragora-backup.timer",
    ):
        assert f"{wants}/{unit}" in laid
    assert f"{wants}/multi-user.target.wants/aragora.service" not in laid
    assert len(laid["etc/aragora/api-token"][3]) == 64
    first_line = (root / "opt/aragora" / release / "bin/aragora").read_text().splitlines()[0]
    assert first_line == f"#!/opt/aragora/{release}/bin/python"


def test_the_gateway_file_fits_the_units_and_is_good(root: Path) -> None:
    install(root)
    text = (root / "etc/aragora/proxy.toml").read_text()
    assert "127.0.0.1:8080" not in text
    assert text.count('"unix:/run/aragora/current.sock"') == 2
    moved = root / "proxy.toml"
    moved.write_text(text.replace("/var/", f"{root}/var/"))
    python = root / "opt/aragora/current/bin/python"
    checked = subprocess.run([python, "-m", "proxy", "check", moved], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


def test_a_second_run_changes_nothing(root: Path) -> None:
    install(root)
    before = tree(root)
    assert install(root) == "nothing to change\n"
    assert tree(root) == before


def test_a_dry_run_says_what_would_be_done_and_does_nothing(root: Path) -> None:
    said = install(root, "--dry-run")
    assert list(root.iterdir()) == [root / "opt"]
    assert "aragora-gateway.socket" in said
    install(root)
    before = tree(root)
    said = install(root, "--uninstall", "--purge", "--dry-run")
    assert "rm -r" in said
    assert tree(root) == before


@pytest.mark.component("compiler")
def test_without_a_compiler_the_gateway_stays_pure(root: Path) -> None:
    (pure,) = (root / "opt/aragora/releases").iterdir()
    compiled = install(root, "--dry-run", COMPILE_GATEWAY="1")
    said = install(root, "--dry-run", COMPILE_GATEWAY="1", CC="/nowhere/cc")
    assert "the gateway stays pure Python: " in said
    assert "there is no C compiler (/nowhere/cc): apt-get install gcc" in said
    assert f"releases/{pure.name}" in said
    assert f"releases/{pure.name}" not in compiled
    assert f"releases/{pure.name}" in install(root, "--dry-run", "--no-compile", COMPILE_GATEWAY="1")


def test_edited_files_stay_and_new_versions_lie_beside(root: Path) -> None:
    install(root)
    edited = root / "etc/aragora/aragora.env"
    edited.write_text("ARAGORA_WORKERS=3\n")
    token = (root / "etc/aragora/api-token").read_text()
    assert install(root) == "nothing to change\n"  # the checkout brings what it brought before
    (root / "opt/aragora/brought/etc/aragora/aragora.env").write_text("# of an older checkout\n")
    said = install(root)
    assert "/etc/aragora/aragora.env was edited and stays" in said
    assert edited.read_text() == "ARAGORA_WORKERS=3\n"
    beside = root / "etc/aragora/aragora.env.new"
    assert beside.read_text() == (CHECKOUT / "conf" / "aragora.env").read_text()
    assert (root / "etc/aragora/api-token").read_text() == token
    unit = root / "usr/local/lib/systemd/system/aragora@.service"
    unit.write_text("# edited in the wrong place\n")
    install(root)
    assert unit.read_text() == (CHECKOUT / "conf" / "systemd" / "aragora@.service").read_text()


def test_nginx_in_front_uses_the_applications_addresses(root: Path) -> None:
    install(root, "--front", "nginx")
    laid = tree(root)
    assert "etc/aragora/proxy.toml" not in laid
    assert laid["etc/nginx/conf.d/aragora.conf"][3] == (CHECKOUT / "conf" / "nginx" / "aragora.conf").read_text()
    assert "etc/systemd/system/sockets.target.wants/aragora.socket" in laid
    assert "etc/systemd/system/multi-user.target.wants/aragora.service" in laid
    assert not any("wants/aragora-gateway" in name or "wants/aragora@" in name for name in laid)
    assert install(root, "--front", "nginx") == "nothing to change\n"


def test_uninstalling_keeps_data_and_purging_does_not(root: Path) -> None:
    install(root)
    for kept in ("var/lib/aragora/data/aragora.db", "var/log/aragora/access.log"):
        (root / kept).write_text("of value")
    assert "kept: /etc/aragora /var/lib/aragora /var/log/aragora" in install(root, "--uninstall")
    left = [name for name in tree(root) if "aragora" in name]
    assert all(name.startswith(("etc/aragora", "var/lib/aragora", "var/log/aragora")) for name in left)
    assert (root / "var/lib/aragora/data/aragora.db").read_text() == "of value"
    install(root, "--uninstall", "--purge")
    assert [name for name in tree(root) if "aragora" in name] == []
    assert "aragora:" not in (root / "etc/passwd").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dev",), "there is no dev; scripts/install --help lists what there is (scripts/venv makes"),
        (("--front", "apache"), "--front takes gateway or nginx"),
        (("--purge",), "--purge goes with --uninstall"),
        (("--root", "/nowhere"), "--root takes a directory that exists"),
    ],
)
def test_a_wrong_argument_is_one_line_and_changes_nothing(root: Path, arguments: tuple[str, ...], said: str) -> None:
    (line,) = install(root, *arguments, code=1).splitlines()
    assert said in line
    assert list(root.iterdir()) == [root / "opt"]


def test_help_lists_every_option() -> None:
    said = install(Path("/"), "--help")
    for option in ("--front", "--dry-run", "--uninstall", "--purge", "--release", "--root", "--no-compile"):
        assert option in said
