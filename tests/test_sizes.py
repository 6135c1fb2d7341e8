"""Files, functions and tests' names stay short enough to be read at a glance."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
LONGEST_NAME_OF_A_TEST = 60


def modules(*packages: str) -> list[Path]:
    return sorted(file for package in packages for file in (ROOT / package).rglob("*.py"))


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


@pytest.mark.parametrize("package", ["proxy", "aragora"])
def test_no_file_has_more_than_400_lines(package: str) -> None:
    counts = {file: len(file.read_text().splitlines()) for file in modules(package)}
    assert not {str(file): count for file, count in counts.items() if count > MOST_LINES_OF_A_FILE}


@pytest.mark.parametrize("package", ["proxy", "aragora"])
def test_no_function_has_more_than_60_lines(package: str) -> None:
    found = [(file, one) for file in modules(package) for one in functions(file)]
    assert not [f"{file}:{one.lineno} {one.name}" for file, one in found if length(one) > MOST_LINES_OF_A_FUNCTION]


def test_names_of_tests_have_at_most_60_characters() -> None:
    names = {one.name for file in modules("tests") for one in functions(file) if one.name.startswith("test_")}
    assert not {name for name in names if len(name) > LONGEST_NAME_OF_A_TEST}
