"""Every fenced block of docs/deployment is what it says: each kind is read by its own tool, each name in it exists."""

import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psycopg
import pytest
import yaml

from aragora.settings import load
from proxy.settings import Settings
from tests.aragora.storage.databases import PostgreSQL, postgresql
from tests.conftest import program
from tests.deployment.pages import Block, blocks, moved
from tests.deployment.processes import CHECKOUT

__all__ = ["postgresql"]

PAGES = sorted((CHECKOUT / "docs" / "deployment").rglob("*.md"))
BLOCKS = [block for page in PAGES for block in blocks(page)]
WITH_HELP = ("scripts/install", "scripts/deploy", "scripts/drill_recovery", "gunicorn", "uvicorn")


def of(kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind == kind]


def name(block: Block) -> str:
    return f"{block.page.stem}: {block.section}"


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a block, in words."""
    for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
        if not line.startswith((" ", "#")):
            words = shlex.split(line, comments=True)
            yield words[1:] if words[:1] == ["sudo"] else words


@cache
def help_of(what: str) -> str:
    """What a program says of its flags."""
    path = CHECKOUT / what if what.startswith("scripts/") else Path(sys.executable).with_name(what)
    said = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=60, check=True)
    return said.stdout


@pytest.mark.parametrize("block", of("sh"), ids=name)
def test_shell_is_shell_and_names_what_exists(block: Block) -> None:
    checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=10)
    assert checked.returncode == 0, checked.stderr
    for words in commands(block):
        for word in words:
            if re.match(r"(scripts|conf)/", word):
                assert (CHECKOUT / word).exists(), word
        if words and words[0] in WITH_HELP:
            for flag in (word.partition("=")[0] for word in words if word.startswith("-")):
                assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", help_of(words[0])), (
                    f"{words[0]} has no {flag}"
                )
        if words and words[0] in ("systemctl", "journalctl"):
            for word in words[1:]:
                if word.startswith("aragora") and "*" not in word:
                    unit(word)
        if words[:1] in (["aragora"], ["aragora-service"]):
            said = subprocess.run([sys.executable, "-m", "aragora", words[1], "--help"], cwd=CHECKOUT, timeout=60)
            assert said.returncode == 0


def unit(word: str) -> None:
    """Fails unless there is a unit of that name, or template for it."""
    base, dot, kind = word.partition(".")
    base = re.sub("@.*", "@", base)
    assert (CHECKOUT / "conf" / "systemd" / f"{base}.{kind if dot else 'service'}").exists(), word


def gateway(text: str, directory: Path) -> None:
    """Settings of the gateway: a file, or part of one."""
    upstream = "" if "upstream" in text else 'upstream = "127.0.0.1:8080"\n'
    file = directory / "gateway.toml"
    file.write_text(moved(upstream + text, directory))
    run(sys.executable, "-m", "proxy", "check", str(file))


def nginx(text: str, directory: Path) -> None:
    file = directory / "nginx.conf"
    inner = text if "http {" in text else f"http {{\n{text}\n}}\n"
    file.write_text(moved(f"pid {directory}/pid;\nevents {{}}\n{inner}", directory))
    run(program("nginx") or "", "-t", "-p", str(directory), "-c", str(file))


def sections(text: str, directory: Path) -> None:
    """Sections of keys; a unit is judged by systemd."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(text)
    assert parser.sections()
    if "[Service]" in text:
        file = directory / "snippet.service"
        file.write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", text, flags=re.MULTILINE))
        assert "snippet" not in run(program("systemd-analyze") or "", "verify", "--man=no", str(file)).stderr


def documents(text: str, _directory: Path) -> None:
    assert all(document is not None for document in yaml.safe_load_all(text))


def lines(text: str, _directory: Path) -> None:
    """An object on each line."""
    for line in text.splitlines():
        assert json.loads(line)


def module(text: str, _directory: Path) -> None:
    compile(text, "snippet", "exec")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """To its end, which must be good."""
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended


READERS = {"ini": sections, "json": lines, "nginx": nginx, "python": module, "toml": gateway, "yaml": documents}


@pytest.mark.component("nginx")
@pytest.mark.component("openssl")
@pytest.mark.component("systemd")
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind in READERS], ids=name)
def test_files_are_read_by_what_they_are_for(block: Block, tmp_path: Path) -> None:
    READERS[block.kind](block.text, tmp_path)


def test_every_kind_of_block_is_read_by_something() -> None:
    assert {block.kind for block in BLOCKS} <= {*READERS, "sh", "sql"}


@pytest.mark.component("postgresql")
@pytest.mark.parametrize("block", of("sql"), ids=name)
def test_postgresql_obeys(block: Block, postgresql: PostgreSQL) -> None:
    with psycopg.connect(postgresql.new_database(), autocommit=True) as connection:
        connection.execute("CREATE ROLE aragora")
        try:
            for statement in filter(str.strip, block.text.split(";")):
                connection.execute(statement.encode())
        finally:
            connection.execute("DROP ROLE aragora")


def test_the_guide_tells_the_numbers_that_are() -> None:
    text = (CHECKOUT / "docs" / "deployment" / "ASYNC_GATEWAY.md").read_text()
    production = {"ARAGORA_ENV": "production", "ARAGORA_API_TOKEN": "not-a-secret-of-anyone"}
    here, there = load({}), load(production)
    rows = re.findall(r"^\|[^|]+\| (\d+) \| (\d+) \| `ARAGORA_(\w+)` \|$", text, re.MULTILINE)
    assert len(rows) == 4
    for development, public, variable in rows:
        field = variable.lower()
        assert (int(development), int(public)) == (getattr(here, field), getattr(there, field)), variable
    prose = " ".join(text.split())  # wherever a line ends
    assert f"({there.worker_connections}) connections" in prose
    shipped = tomllib.loads((CHECKOUT / "conf" / "proxy.toml").read_text())
    assert f"{shipped['read_timeout'].removesuffix('s')} s for an answer (`read_timeout`)" in prose
    assert f"{Settings().websocket_timeout:g} s for a silent WebSocket" in prose
    for unit_file in ("aragora@.service", "aragora-gateway.service"):
        assert "TimeoutStopSec=45\n" in (CHECKOUT / "conf" / "systemd" / unit_file).read_text()
