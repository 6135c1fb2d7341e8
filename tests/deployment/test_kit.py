"""What the documents and scripts say of the rest is true: links, flags, variables, packages, modes."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aragora.server.queries import CreateQuery
from aragora.settings import AGENT_VARIABLES, SETTINGS
from proxy.commands.command_line import command_line
from proxy.settings import table
from tests.conftest import COMPONENTS, OPTIONAL
from tests.deployment.processes import CHECKOUT

(COMMANDS,) = (action.choices for action in command_line()._actions if action.metavar == "COMMAND")
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])


def name(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{name(page)} links to {target}"


def anchors(page: Path) -> set[str]:
    """What a link may name in a page: its headings as GitHub makes names of them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_headings_that_are_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*\.md)?#([^)\s]+)\)", page.read_text()):
        assert anchor in anchors(page.parent / target if target else page), f"{name(page)}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_flags_of_the_gateway_exist(page: Path) -> None:
    known = {f"--{spelling.replace('_', '-')}" for row in table() for spelling in (row.name, *row.aliases)}
    text = re.sub(r"\b(?:python -m proxy|aragora-proxy)(?=\s)", "GATEWAY", page.read_text().replace("\\\n", " "))
    for line in text.splitlines():
        if "GATEWAY " in line:
            arguments = re.split("[#`]", line.partition("GATEWAY ")[2])[0]
            flags = set(re.findall(r"--[a-z][a-z0-9-]+", arguments))
            command = arguments.split()[:1]
            if command and command[0] != "check" and command[0] in COMMANDS:
                known_here = {text for action in COMMANDS[command[0]]._actions for text in action.option_strings}
            else:
                known_here = known | {"--help", "--version", *(["--all"] if command == ["check"] else [])}
            assert flags <= known_here, f"{name(page)}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_variables_exist(page: Path) -> None:
    known = {row.name for row in SETTINGS} | {row.name for row in AGENT_VARIABLES}
    of_tests = ("REQUIRE_COMPONENTS", "DRILL_ROUNDS", "FUZZ_CASES", "BARE_ROOTS", "LONG", "TOUR")
    known |= {f"ARAGORA_{name}" for name in of_tests}
    known |= {f"ARAGORA_PROXY_{row.name.upper()}" for row in table() if row.has_flag}
    known |= {f"{variable}_FILE" for variable in known}
    for variable in re.findall(r"\bARAGORA_[A-Z_]+[A-Z]\b", page.read_text()):
        assert variable in known, f"{name(page)} names {variable}"


def test_every_page_is_in_the_index() -> None:
    index = (CHECKOUT / "docs" / "README.md").read_text()
    for page in sorted(CHECKOUT.glob("docs/**/*.md")):
        near = page.parent / "README.md"  # a directory's own index, which docs/README.md mentions
        listed = index + (near.read_text() if str(near.relative_to(CHECKOUT / "docs")) in index else "")
        if page.name != "README.md":
            mentions = (str(page.relative_to(CHECKOUT / "docs")), f"]({page.name})")
            assert any(mention in listed for mention in mentions), f"docs/README.md does not mention {name(page)}"


def test_every_room_of_the_gateway_is_described() -> None:
    contract = configparser.ConfigParser()
    contract.read(CHECKOUT / "setup.cfg")
    rooms = re.split(r"[\s|]+", contract["importlinter:contract:proxy"]["layers"].strip())
    chapter = (CHECKOUT / "docs" / "architecture.md").read_text().partition("## The rooms of the gateway")[2]
    described = {name.rstrip("/") for name in re.findall(r"`([a-z_/]+)`", chapter.partition("\n## ")[0])}
    assert {room.split(".")[1] for room in rooms} <= described


def test_ci_installs_what_the_component_tests_need() -> None:
    script = (CHECKOUT / ".ci" / "run").read_text()
    listed = re.search(r"packages=\((.*?)\n\)", script, re.DOTALL)
    assert listed
    packages = set(re.sub("#.*", "", listed[1]).split())
    needed = {
        package
        for name, (remedy, _) in COMPONENTS.items()
        if name not in OPTIONAL and remedy.startswith("apt-get install ")
        for package in remedy.removeprefix("apt-get install ").split()
    }
    assert packages == needed


@pytest.mark.parametrize("script", ["scripts/up", "scripts/test", "scripts/venv", "scripts/install", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(CHECKOUT / script, os.X_OK)
    shell = "bash" if script == ".ci/run" else "sh"
    subprocess.run([shell, "-n", str(CHECKOUT / script)], check=True, timeout=10)


@pytest.mark.parametrize("script", ["scripts/loadtest", "scripts/drill_recovery"])
def test_scripts_name_what_a_bare_machine_lacks(script: str, tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "scripts", tmp_path / "scripts")
    command = [sys.executable, "-I", "-S", str(tmp_path / script)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert said.returncode == 1
    assert re.fullmatch(rf"{script}: \w+ is missing; scripts/venv .*\n", said.stderr)


def test_products_import_without_test_requirements() -> None:
    """What a server installs is enough: no test requirement has slipped into the products."""
    code = """
import importlib, pkgutil, sys
for module in "pytest hypothesis httpx aiohttp schemathesis httptools uvicorn a2wsgi psycopg redis".split():
    sys.modules[module] = None
import proxy, aragora.server.wsgi
# Loaded where shared_limits is set.
extra = {
    "proxy.filters.shared_rates", "proxy.filters.shared_websockets", "proxy.limits.leases", "proxy.limits.link",
    "proxy.limits.script", "proxy.net.redis_connection",
}
for package in (proxy,):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__") and module.name not in extra: importlib.import_module(module.name)
"""
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, timeout=60)


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("proxy.toml", "read_timeout *= *"),
        ("compose/gateway.toml", "read_timeout *= *"),
        ("kubernetes/components/gateway/gateway.toml", "read_timeout *= *"),
        ("nginx/aragora.conf", "proxy_read_timeout *"),
        ("compose/nginx.conf", "proxy_read_timeout *"),
        ("kubernetes/components/ingress/ingress.yaml", "proxy-read-timeout: *"),
    ],
)
def test_every_proxy_timeout_exceeds_the_applications(file: str, key: str) -> None:
    longest = CreateQuery.model_json_schema()["properties"]["wait"]["maximum"]
    first = re.search(rf"{key}\"?(\d+)", (CHECKOUT / "conf" / file).read_text())
    assert first
    assert int(first[1]) > longest
