"""The gateway's two forms: what is compiled, and that the form that runs can be told."""

import sys
from configparser import ConfigParser
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import setup
from proxy.form import form

LISTED = ConfigParser()
LISTED.read(Path(__file__).parents[2] / "setup.cfg")


@pytest.mark.parametrize("key", ["modules", "interpreted"])
def test_every_name_to_compile_is_that_of_a_module(key: str) -> None:
    names = LISTED["compile"][key].replace(".*", "").split()
    lines = [line for line in names if not line.startswith("#")]
    for name in lines:
        import_module(name)
    assert lines


def test_all_listed_modules_run_in_the_form_that_is_told() -> None:
    assert len(setup.modules()) > 50
    for path in setup.modules():
        module = import_module(path.removesuffix(".py").replace("/", "."))
        assert module.__file__ is not None
        assert module.__file__.endswith(tuple(EXTENSION_SUFFIXES)) == (form() == "compiled"), path


def test_no_compiled_module_is_older_than_its_source() -> None:
    for path in map(Path, setup.modules()):
        module = sys.modules.get(".".join(path.with_suffix("").parts))
        if module is not None and module.__file__ is not None:
            built = Path(module.__file__)
            assert built.stat().st_mtime >= (setup.CHECKOUT / path).stat().st_mtime, f"{path}: scripts/compile again"
