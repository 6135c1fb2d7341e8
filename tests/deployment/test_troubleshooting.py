"""Troubleshooting: the page is what the table of errors and the remedies make, and names what exists."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from proxy.settings import table
from tests.deployment.processes import CHECKOUT

PAGE = CHECKOUT / "docs" / "howto" / "troubleshooting.md"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(CHECKOUT / "scripts" / "troubleshooting"))


def test_every_error_has_a_cause_and_a_fix(script: dict[str, Any]) -> None:
    assert {failure.reason for failure in script["failures"]()} == set(script["REMEDIES"])


def test_the_page_is_what_the_script_writes(script: dict[str, Any]) -> None:
    assert PAGE.read_text() == script["page"](), "run scripts/troubleshooting"


def test_settings_in_fixes_exist(script: dict[str, Any]) -> None:
    known = {spelling for row in table() for spelling in (row.name, *row.aliases)}
    known |= {failure.reason for failure in script["failures"]()} | {"proxy", "curl"}
    words = re.findall(r"`([a-z]+(?:_[a-z]+)+)(?: = [^`]*)?`", PAGE.read_text())
    assert [word for word in words if word not in known] == []


def test_reasons_are_those_of_responses() -> None:
    """What a user finds in `Proxy-Status` is what the page lists."""
    sources = "".join(path.read_text() for path in Path(CHECKOUT / "proxy").rglob("*.py"))
    for reason in re.findall(r"^\| \w+ \| [^|]+ \| `(\w+)` \|", PAGE.read_text(), re.MULTILINE):
        assert f'"{reason}"' in sources
