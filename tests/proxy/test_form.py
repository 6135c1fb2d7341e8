"""The gateway's two forms: what is compiled, and that the form that runs can be told."""

from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import setup
from proxy.form import form

LISTED = [file for files in setup.libraries().values() for file in files]


@pytest.mark.parametrize("file", LISTED)
def test_listed_modules_run_in_the_form_that_is_told(file: str) -> None:
    module = import_module(file.removesuffix(".py").replace("/", "."))
    assert module.__file__ is not None
    assert module.__file__.endswith(tuple(EXTENSION_SUFFIXES)) == (form() == "compiled")


@pytest.mark.parametrize("file", LISTED)
def test_no_compiled_module_is_older_than_its_source(file: str) -> None:
    module = import_module(file.removesuffix(".py").replace("/", "."))
    built = Path(module.__file__ or "")
    assert built.stat().st_mtime >= (setup.CHECKOUT / file).stat().st_mtime, "compile it again: scripts/compile"
