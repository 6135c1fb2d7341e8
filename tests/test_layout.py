"""Tests of a package are in the folder of its name; tests of whole gateways are in `tests/proxy/integration`."""

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
