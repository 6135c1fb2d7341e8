"""Where tests are and how they wait.

Tests of a package are in the folder of its name; tests of whole gateways are in `tests/proxy/integration`. A test waits
for an event, or asks with `until`; where it sleeps, a comment says why nothing else would do.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
INTEGRATION = TESTS / "proxy" / "integration"


@pytest.mark.parametrize("product", ["proxy", "aragora"])
def test_each_folder_of_tests_has_the_name_of_a_package(product: str) -> None:
    folders = {file.parent for file in (TESTS / product).rglob("*.py") if not file.is_relative_to(INTEGRATION)}
    assert not {str(folder) for folder in folders if not (ROOT / folder.relative_to(TESTS) / "__init__.py").exists()}


@pytest.mark.parametrize("product", ["proxy", "aragora"])
def test_each_package_has_tests_in_the_folder_of_its_name(product: str) -> None:
    packages = {file.parent for file in (ROOT / product).glob("*/__init__.py")}
    assert not {str(package) for package in packages if not [*(TESTS / product / package.name).rglob("test_*.py")]}


SLEEP = re.compile(r"(?<!def )\bsleep\((?!0\))")


def test_each_sleep_of_a_test_has_its_reason_beside_it() -> None:
    bare = []
    for file in TESTS.rglob("*.py"):
        lines = file.read_text().splitlines()
        for number, line in enumerate(lines):
            if SLEEP.search(line) and "  # " not in line and not lines[number - 1].lstrip().startswith("#"):
                bare.append(f"{file.relative_to(ROOT)}:{number + 1}: {line.strip()}")
    assert not bare, "await an event, or say beside it why that cannot be done"
