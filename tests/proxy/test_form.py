"""The gateway's two forms: what is compiled, and that the form that runs can be told."""

import ast
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


def calls_in_slices(source: str) -> list[str]:
    """The slices of a module whose bounds call anything but `len` and `min`."""
    slices = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Slice)]
    return [
        ast.unparse(one)
        for one in slices
        for call in ast.walk(one)
        if isinstance(call, ast.Call) and ast.unparse(call.func) not in ("len", "min")
    ]


@pytest.mark.parametrize("file", LISTED)
def test_no_slice_has_a_bound_with_an_effect(file: str) -> None:
    # mypyc computes the bounds of a slice of anything but str, bytes, list and tuple twice: a view would be sent twice.
    assert calls_in_slices((setup.CHECKOUT / file).read_text()) == []


@pytest.mark.parametrize("file", LISTED)
def test_deadlines_are_not_compared_by_identity(file: str) -> None:
    # A compiled attribute holds a float's value, not the object: it is never the same as another one.
    compared = [
        node for node in ast.walk(ast.parse((setup.CHECKOUT / file).read_text())) if isinstance(node, ast.Compare)
    ]
    identities = [one for one in compared if any(isinstance(operator, ast.Is | ast.IsNot) for operator in one.ops)]
    assert not [ast.unparse(one) for one in identities if "NEVER" in ast.unparse(one)]


def test_a_slice_whose_bound_calls_is_found() -> None:
    assert calls_in_slices("view = view[sock.send(view) :] + view[: len(head)]") == ["sock.send(view):"]


@pytest.mark.parametrize("file", LISTED)
def test_no_compiled_module_is_older_than_its_source(file: str) -> None:
    module = import_module(file.removesuffix(".py").replace("/", "."))
    built = Path(module.__file__ or "")
    assert built.stat().st_mtime >= (setup.CHECKOUT / file).stat().st_mtime, "compile it again: scripts/compile"
