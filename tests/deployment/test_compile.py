"""Compiling the gateway, and what is said where that is not possible."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT

NO_COMPILER = "the gateway stays pure Python: there is no C compiler (/nowhere/cc): apt-get install gcc libc6-dev"


def run(*command: object, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=110, env=os.environ | environ, cwd=CHECKOUT
    )


def compile_here(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run(CHECKOUT / "scripts" / "compile", *arguments, PYTHON=sys.executable, **environ)


@pytest.mark.component("compiler")
def test_a_machine_with_a_compiler_can_compile() -> None:
    checked = compile_here("--check")
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_without_a_compiler_the_fix_is_named() -> None:
    checked = compile_here("--check", CC="/nowhere/cc")
    assert checked.returncode == 1
    assert checked.stderr == f"compile: {NO_COMPILER}\n"


@pytest.mark.component("compiler")
def test_without_python_s_headers_the_fix_is_named(tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexec cc -nostdinc\n")
    compiler.chmod(0o755)
    checked = compile_here("--check", CC=str(compiler))
    assert checked.returncode == 1
    assert checked.stderr.endswith("Python's headers (Python.h) are not installed: apt-get install python3-dev\n")


def test_a_wheel_without_a_compiler_is_pure(tmp_path: Path) -> None:
    source = tmp_path / "source"
    names = ("proxy", "aragora", "conf", "setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE")
    source.mkdir()
    subprocess.run(["cp", "-r", *names, source], cwd=CHECKOUT, check=True, timeout=60)
    for built in source.rglob("*.so"):
        built.unlink()
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-v", "-w", tmp_path, source)
    made = run(*pip, COMPILE_GATEWAY="1", CC="/nowhere/cc")
    assert made.returncode == 0, made.stderr
    assert NO_COMPILER in made.stdout + made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]


def test_an_unknown_option_changes_nothing() -> None:
    refused = compile_here("--everything")
    assert refused.returncode == 1
    assert refused.stderr == "compile: there is no --everything; scripts/compile --help lists what there is\n"


def test_help_lists_every_option() -> None:
    said = compile_here("--help").stdout
    for option in ("--in-place", "--clean", "--check", "PYTHONPATH=build/compiled"):
        assert option in said
