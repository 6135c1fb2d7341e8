"""install-service: units that systemd accepts, made of the settings, and what it refuses to write over."""

import re
import subprocess
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.settings import load_some
from tests.conftest import program

UNITS = "etc/systemd/system"
MOST_EXPOSURE = 2.5


def install(root: Path, *arguments: str) -> int:
    return main(["install-service", "--root", str(root), *arguments])


def unit(root: Path, name: str) -> dict[str, list[str]]:
    """All values of each key of a unit."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", (root / UNITS / name).read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_one_command_writes_settings_and_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    https = ("--acme", "me@example.com", "--domain", "app.example.com")
    assert install(tmp_path, "--upstream", "127.0.0.1:8080", *https) == 0
    said = capsys.readouterr().out
    assert "systemctl enable --now aragora-proxy.socket aragora-proxy-plain.socket aragora-proxy.service" in said
    service = unit(tmp_path, "aragora-proxy.service")
    assert service["User"] == ["aragora-proxy"]
    for key in ("RuntimeDirectory", "StateDirectory", "LogsDirectory"):
        assert service[key] == ["aragora-proxy"]
    assert "ReadWritePaths" not in service
    for name, port, role in (("aragora-proxy", "443", "front"), ("aragora-proxy-plain", "80", "plain")):
        listener = unit(tmp_path, f"{name}.socket")
        assert (listener["ListenStream"], listener["FileDescriptorName"]) == ([port], [role])
        assert listener["Service"] == ["aragora-proxy.service"]
    assert "u aragora-proxy -" in (tmp_path / "etc/sysusers.d/aragora-proxy.conf").read_text()
    known = load_some(("upstream", "acme", "domain"), tmp_path / "etc/aragora-proxy.toml", {})
    assert (str(known["upstream"][0]), known["acme"], known["domain"]) == (
        "127.0.0.1:8080", "me@example.com", ("app.example.com",),
    )  # fmt: skip


def test_units_follow_the_settings_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc/shop.toml"
    file.write_text(
        'upstream = "127.0.0.1:8080"\nbind = ["192.0.2.1:80", "unix:/srv/shop/front.sock"]\nsocket_mode = "660"\n'
        'graceful = "2m"\naccess_log = "/srv/shop/logs/access.log"\nstate_dir = "/var/lib/shop/state"\n'
    )
    before = file.read_text()
    for _ in range(2):  # again, after a change of the file
        assert install(tmp_path, "/etc/shop.toml", "--name", "shop", "--user", "www-data") == 0
    service, listener = unit(tmp_path, "shop.service"), unit(tmp_path, "shop.socket")
    assert service["ReadWritePaths"] == ["/srv/shop/logs"]
    assert service["TimeoutStopSec"] == ["130"]
    assert service["User"] == ["www-data"]
    assert listener["ListenStream"] == ["192.0.2.1:80", "/srv/shop/front.sock"]
    assert listener["SocketMode"] == ["0660"]
    assert not (tmp_path / "etc/sysusers.d").exists()
    assert not (tmp_path / UNITS / "shop-plain.socket").exists()
    assert file.read_text() == before


@pytest.mark.component("systemd")
def test_systemd_accepts_the_units_and_finds_them_closed(tmp_path: Path) -> None:
    https = ("--acme", "me@example.com", "--domain", "app.example.com", "--user", "daemon")
    assert install(tmp_path, "--upstream", "127.0.0.1:8080", *https) == 0
    analyze = program("systemd-analyze") or ""
    files = sorted(map(str, (tmp_path / UNITS).iterdir()))
    verified = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", *files], capture_output=True, text=True, timeout=60
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    security = [analyze, "security", "--offline=true", "--no-pager", f"{tmp_path}/{UNITS}/aragora-proxy.service"]
    said = subprocess.run(security, capture_output=True, text=True, timeout=60)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
    assert exposure, said.stderr
    assert float(exposure[1]) <= MOST_EXPOSURE


@pytest.mark.parametrize(
    ("arguments", "file", "message"),
    [
        ((), None, "no such file; write it, or name the application with --upstream"),
        (("--upstream", "nonsense"), None, "--upstream"),
        (("--upstream", "127.0.0.1:1", "--domain", "a.example"), None, "--acme and --domain go together"),
        (("--name", "../x"), None, "--name ../x: expected"),
        (("--user", "no-such-account", "--now"), None, "--now starts a service of this machine"),
        ((), 'upstream = "127.0.0.1:1"\nuser = "www-data"\n', "the unit has the account; remove both"),
        ((), "bind = [", "aragora-proxy.toml:1"),
    ],
)
def test_what_cannot_be_installed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], file: str | None, message: str
) -> None:
    if file is not None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/aragora-proxy.toml").write_text(file)
    assert install(tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / UNITS).exists()


def test_units_of_others_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / UNITS / "aragora-proxy.socket"
    own.parent.mkdir(parents=True)
    own.write_text("[Socket]\nListenStream=1\n")
    assert install(tmp_path, "--upstream", "127.0.0.1:8080") == 1
    assert f"{own}: was not written by this command" in capsys.readouterr().err
    assert own.read_text() == "[Socket]\nListenStream=1\n"
    assert not (tmp_path / UNITS / "aragora-proxy.service").exists()
