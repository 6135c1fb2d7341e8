"""What the guides tell people to write is good, and does what the guides say."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from proxy.cli import main
from tests.deployment.pages import Block, blocks, moved
from tests.deployment.processes import CHECKOUT

GUIDES = sorted((CHECKOUT / "docs" / "howto").glob("*.md"))
FILES = [
    block for page in GUIDES for block in blocks(page, "toml") if "prices.toml" not in block.text.split("\n", 1)[0]
]
SCRIPTS = [block for page in GUIDES for block in blocks(page, "sh")]


def name(block: Block) -> str:
    return f"{block.page.stem}: {block.section}"


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    """`python -m proxy check`, without a process of its own for each."""
    status = main(["check", *arguments])
    assert status == 0, capsys.readouterr().err


@pytest.mark.component("openssl")
@pytest.mark.parametrize("block", FILES, ids=name)
def test_files_are_good(
    block: Block, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {"APP_PORT": "8080", "API_KEY": "k"}.items():  # those that pages name
        monkeypatch.setenv(variable, value)
    (tmp_path / "conf.d").mkdir()
    file = tmp_path / "gateway.toml"
    file.write_text(moved(block.text, tmp_path))
    check(capsys, str(file))


@pytest.mark.parametrize("block", SCRIPTS, ids=name)
def test_scripts_are_shell(block: Block) -> None:
    checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=10)
    assert checked.returncode == 0, checked.stderr


def starts(block: Block) -> list[list[str]]:
    """The arguments of each command that starts a gateway or checks a file."""
    lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
    words = [
        shlex.split(line.removesuffix("&"), comments=True)
        for line in lines
        if re.match(r"python -m proxy |aragora-proxy ", line)
    ]
    commands = [line[1:] if line[0] == "aragora-proxy" else line[3:] for line in words]
    return [command for command in commands if command[0].startswith("--") or command[0] == "check"]


@pytest.mark.component("openssl")
@pytest.mark.parametrize("block", [block for block in SCRIPTS if starts(block)], ids=name)
def test_commands_that_start_the_gateway_are_good(
    block: Block, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is checked as it stands, against the page's own file where it names one."""
    files = [file for file in blocks(block.page, "toml") if file.text.startswith("# /etc/proxy.toml")]
    for arguments in starts(block):
        flags = [moved(argument, tmp_path) for argument in arguments if argument != "check"]
        named = [flag for flag in flags if flag.endswith(".toml")]
        file = tmp_path / (named[0] if named else "empty.toml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(moved(files[0].text, tmp_path) if named else "")
        rest = [flag for flag in flags if flag not in (*named, "--config")]
        check(capsys, str(file), *rest)
