"""Completion in real shells, and the manual pages, which name every command, flag and key."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.commands.catalogue import LOCAL, RUNNING
from proxy.commands.client import FAILED, USAGE
from proxy.commands.command_line import SHELLS
from proxy.settings import table
from tests.proxy.gateway import ROOT

CASES = [
    (["aragora-proxy", "undr"], "undrain"),
    (["aragora-proxy", "--access-l"], "--access-log"),
    (["aragora-proxy", "--log-format", "js"], "json"),
    (["aragora-proxy", "drain", "a:1", "--for"], "--force"),
    (["aragora-proxy", "completion", "zs"], "zsh"),
    (["aragora-proxy", "--config", "here.t"], "here.toml"),
    (["aragora-proxy", "check", "here.t"], "here.toml"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after the commands of the reference page, with a file to complete."""
    home = tmp_path_factory.mktemp("home")
    (home / "here.toml").touch()
    page = (ROOT / "docs/reference/proxy-cli.md").read_text().partition("## completion and man")[2]
    (block,) = re.findall(r"^```sh\n(.*?)^```", page.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    printed(home, "bash", "-ec", block)
    return home


def printed(home: Path, *command: str) -> list[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"HOME": str(home), "PATH": path, "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert run.stderr == ""
    return run.stdout.splitlines()


def test_bash_completes_commands_flags_values_and_files(home: Path) -> None:
    asked = "".join(
        f'COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; _shtab_aragora_proxy; echo "${{COMPREPLY[@]}}"\n'
        for words, _ in CASES
    )
    found = printed(home, "bash", "-c", f". .local/share/bash-completion/completions/aragora-proxy\n{asked}")
    assert [line.strip() for line in found] == [word for _, word in CASES]


@pytest.mark.component("fish")
def test_fish_completes_commands_flags_values_and_files(home: Path) -> None:
    asked = "\n".join(f"complete -C '{' '.join(words)}'" for words, _ in CASES)
    found = printed(home, "fish", "-c", asked)
    assert [line.split("\t")[0] for line in found] == [word for _, word in CASES]
    assert RUNNING["undrain"] in found[0]


@pytest.mark.component("zsh")
def test_zsh_completes_commands_flags_values_and_files(home: Path) -> None:
    """At a terminal, as nothing else makes zsh complete: a word that is completed whole gets a space behind it."""
    terminal, side = os.openpty()
    environ = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(home)}
    shown = b""
    with subprocess.Popen(["zsh", "-f", "-i"], cwd=home, env=environ, stdin=side, stdout=side, stderr=side):
        os.close(side)
        os.write(terminal, b"fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit -u -D\n")
        os.write(terminal, b'aragora-proxy() { print -r -- "<$@>" }\n')
        for words, _ in CASES:
            os.write(terminal, " ".join(words).encode() + b"\t\n")
        os.write(terminal, b"exit\n")
        with suppress(OSError):  # Linux's end of a terminal
            while some := os.read(terminal, 65536):
                shown += some
    os.close(terminal)
    found = re.findall(r"^<(.*)>\r", shown.decode(), re.MULTILINE)
    assert found == [" ".join([*words[1:-1], word]) for words, word in CASES]


@pytest.mark.component("groff")
def test_manual_pages_name_every_command_flag_and_key(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = home / ".local/share/man"
    program, file = formatted(pages / "man1/aragora-proxy.1"), formatted(pages / "man5/aragora-proxy.toml.5")
    for name in (*RUNNING, *LOCAL):
        assert f"\n   {name}\n" in program
    for row in table():
        assert (re.search(rf"^ {{5,7}}{row.flag}\b", program, re.MULTILINE) is not None) == row.has_flag, row.flag
        assert (re.search(rf"^ {{5,7}}{row.name}\b", file, re.MULTILINE) is not None) == (row.name != "config"), (
            row.name
        )
    assert main(["man"]) == 0
    assert capsys.readouterr().out == (pages / "man1/aragora-proxy.1").read_text()


def formatted(page: Path) -> str:
    """As `man` shows it; groff's warnings are failures."""
    run = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-P-cbou", str(page)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout


def test_pages_that_cannot_be_written_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "man1").touch()
    assert main(["man", "--directory", str(tmp_path)]) == FAILED
    said = capsys.readouterr().err
    assert said.startswith(
        f"aragora-proxy: man: --directory {tmp_path}: {tmp_path}/man1/aragora-proxy.1 cannot be written: "
    )
    assert said.count("\n") == 1


def test_an_unknown_shell_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "csh"]) == USAGE
    said = capsys.readouterr().err
    assert said.startswith("aragora-proxy: completion: ")
    assert all(f"'{shell}'" in said for shell in SHELLS)
