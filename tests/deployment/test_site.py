"""The documentation as a site: built strictly, with its navigation, searchable without a network."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.processes import CHECKOUT

INDEX = CHECKOUT / "docs" / "README.md"


def hooks() -> Any:
    """scripts/site.py, as mkdocs loads it."""
    spec = importlib.util.spec_from_file_location("site_hooks", CHECKOUT / "scripts" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_navigation_has_a_tab_for_each_product() -> None:
    home, gateway, debates = hooks().navigation(INDEX.read_text())
    assert list(home.values()) == ["README.md"]
    for tab, title in ((gateway, "The gateway"), (debates, "The debate service")):
        sections = [name for section in tab[title] for name in section]
        assert sections == ["Tutorials", "Guides", "Reference", "Explanation"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=280, check=False)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.component("mkdocs")
@pytest.mark.timeout(300)
def test_every_page_is_built_and_found_by_the_search(site: Path) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    places = {entry["location"].partition("#")[0] for entry in found}
    for page in (CHECKOUT / "docs").rglob("*.md"):
        name = re.sub(r"README\.md$", "index.md", str(page.relative_to(CHECKOUT / "docs")))
        built = name.removesuffix(".md") + ".html"
        assert (site / built).exists(), built
        assert {built, built.removesuffix("index.html")} & places, f"the search does not know {built}"


@pytest.mark.component("mkdocs")
@pytest.mark.timeout(300)
def test_pages_load_nothing_from_the_network(site: Path) -> None:
    page = (site / "index.html").read_text()
    loaded = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"?(https?:[^\" >]+)", page)
    assert loaded == []
