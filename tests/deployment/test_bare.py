"""The tutorial on machines where nothing is installed: each of its commands as it stands, from apt-get to HTTPS."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import program
from tests.deployment.bare import bare_machine, write
from tests.deployment.machine import Machine
from tests.deployment.pages import blocks
from tests.deployment.processes import CHECKOUT
from tests.deployment.test_tutorial import PAGE, PEBBLE, files, section
from tests.proxy.authority import Authority
from tests.waiting import until

SUITES = ("bookworm", "trixie")
NAME = "app.example.com"
TRANSCRIPT = PAGE.with_suffix(".txt")
MOST_COMMANDS = 6
SHOWN = 3
"""Lines of a long output that the transcript has, of its beginning and of its end."""

pytestmark = [
    *map(pytest.mark.component, ("machine", "debootstrap", "pebble", "curl", "git")),
    pytest.mark.skipif(
        os.environ.get("ARAGORA_BARE_ROOTS") != "1",
        reason="makes two roots of Debian, in minutes: ARAGORA_BARE_ROOTS=1",
    ),
    pytest.mark.timeout(1500),
]


@dataclass
class Newcomer:
    """Somebody at the machine's terminal who follows the page; `transcript` is what that terminal showed."""

    host: Machine
    transcript: list[str] = field(default_factory=list)

    def types(self, line: str) -> str:
        """Run a command of the page as it stands; what it wrote to standard output."""
        shell = ("env", "HOME=/root", "CURL_CA_BUNDLE=/root/ca/root.pem", "TERM=dumb", "bash", "-c", line)
        ended = self.host.run(*shell, seconds=900)
        said = re.sub(
            r"http://127\.0\.0\.1:\d+/(files|wheel|simple)", r"https://pypi.org/\1", ended.stdout
        ).splitlines()
        short = said if len(said) <= 2 * SHOWN else [*said[:SHOWN], f"[{len(said) - 2 * SHOWN} lines]", *said[-SHOWN:]]
        self.transcript += [f"$ {line}", *short]
        return ended.stdout

    def saves(self, path: str, text: str) -> None:
        """Write a file of the page."""
        write(self.host, path, text)
        self.transcript.append(f"# {path}: as on the page")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, as scripts/release would upload it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (CHECKOUT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, source / name)
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder, source]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module", params=SUITES)
def newcomer(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Newcomer]:
    """A bare machine that the page's name leads to, in a network with a certificate authority of its own."""
    overlay = tmp_path_factory.mktemp(request.param)
    authority = overlay / "root" / "ca"
    authority.mkdir(parents=True)
    Authority(authority).issue("127.0.0.1", file="pebble")
    (authority / "pebble.json").write_text(json.dumps({"pebble": PEBBLE}))
    shutil.copy(program("pebble") or "", authority / "pebble")
    (overlay / "etc").mkdir()
    (overlay / "etc" / "hosts").write_text(f"127.0.0.1 localhost {NAME}\n")
    with bare_machine(request.param, wheel, overlay) as host:
        assert host.run("sh", "-c", "command -v python3 curl", check=False).stdout == ""
        serve = ("/root/ca/pebble", "-config", "/root/ca/pebble.json")
        host.run("systemd-run", "--unit=pebble", "--setenv=PEBBLE_VA_NOSLEEP=1", *serve)
        yield Newcomer(host)


def commands() -> list[str]:
    """Every command of the page's numbered steps."""
    return [
        line for block in blocks(PAGE, "sh") if re.match(r"\d\. ", block.section) for line in block.text.splitlines()
    ]


def test_a_bare_machine_serves_https_at_boot(newcomer: Newcomer) -> None:
    host = newcomer.host
    *install, start, ask = commands()
    assert len(install) + 2 <= MOST_COMMANDS
    for line in install:
        newcomer.types(line)
    trust_the_authority(host)
    (local,) = section("With a local authority", "toml")
    for path, text in files().items():
        more = local.text.replace("https://ca.internal.example/acme/acme/directory", "https://127.0.0.1:14000/dir")
        more = more.replace("/etc/ssl/certs/internal-ca.crt", "/etc/ssl/local/ca.crt")
        newcomer.saves(path, text + (more if path.endswith(".toml") else ""))
    newcomer.types(start)

    def certified() -> bool:
        return (
            host.run(*ask.split(), "--silent", "--fail", "--cacert", "/root/ca/root.pem", check=False).returncode == 0
        )

    until(certified, "a certificate of the authority")
    assert json.loads(newcomer.types(ask)) == {"client": "127.0.0.1", "secure": True, "url": f"https://{NAME}/"}
    for unit in ("shop", "aragora-proxy"):
        assert host.run("systemctl", "is-enabled", unit).stdout == "enabled\n"

    # what a boot does: nothing of it runs, and the machine is brought to where users are served
    host.run("systemctl", "stop", "shop", "aragora-proxy")
    assert not certified()
    host.run("systemctl", "start", "multi-user.target")
    until(certified, "an answer after the boot")
    keep(newcomer)


def trust_the_authority(host: Machine) -> None:
    """What a machine's administrator has done where the authority is not a public one."""
    write(host, "/etc/ssl/local/ca.crt", host.run("cat", "/root/ca/test-authority.pem").stdout)
    ask = ("curl", "--silent", "--insecure", "https://127.0.0.1:15000/roots/0")
    write(host, "/root/ca/root.pem", str(until(lambda: host.run(*ask, check=False).stdout, "the authority")))


def keep(newcomer: Newcomer) -> None:
    """A transcript that the page has is of these very commands; ARAGORA_RECORD=1 writes it anew."""
    shown = "\n".join(newcomer.transcript) + "\n"
    if os.environ.get("ARAGORA_RECORD") == "1":
        TRANSCRIPT.write_text(shown)
    if not TRANSCRIPT.exists():
        return
    typed = [line for line in TRANSCRIPT.read_text().splitlines() if line.startswith("$ ")]
    assert typed == [f"$ {line}" for line in commands()]
