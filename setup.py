"""What setup.cfg cannot say: with COMPILE_GATEWAY=1 the modules of its section `compile` are compiled by mypyc."""

import os
import shlex
import subprocess
import sys
import sysconfig
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from setuptools import Extension

CHECKOUT = Path(__file__).resolve().parent
_CONFIG = ConfigParser()
_CONFIG.read(CHECKOUT / "setup.cfg")
REQUIRES = _CONFIG["compile"]["requires"].split()


def libraries() -> dict[str, list[str]]:
    """The files of the modules to compile, relative to the checkout, by the library that they become."""
    listed = {name: _CONFIG["compile"][name].split() for name in ("exchange", "wire")}
    return {f"proxy_{name}": [one.replace(".", "/") + ".py" for one in names] for name, names in listed.items()}


def missing() -> str:
    """What compiling lacks here, and the fix; empty if it lacks nothing."""
    if find_spec("mypyc") is None:
        return f"mypy is not installed in {sys.prefix}: pip install '{REQUIRES[0]}'"
    return missing_compiler()


def missing_compiler() -> str:
    """What the machine lacks, and the fix; empty if it lacks nothing."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    includes = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    trial = [*compiler, *includes, "-fsyntax-only", "-x", "c", "-"]
    try:
        done = subprocess.run(trial, input=b"#include <Python.h>\n", capture_output=True, check=False)  # noqa: S603
    except OSError:
        return f"there is no C compiler ({compiler[0]}): apt-get install gcc libc6-dev"
    return "" if done.returncode == 0 else "Python's headers (Python.h) are not installed: apt-get install python3-dev"


def extensions() -> list["Extension"]:
    """The compiled modules, and the library that they share; none where something is missing, which is said."""
    lacking = missing()
    if lacking:
        print(f"aragora: the gateway stays pure Python: {lacking}", file=sys.stderr)
        return []
    from mypyc.build import mypycify

    # Types are checked elsewhere; here libraries without types, or missing ones, are no mistake.
    checking = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    parts = [(files, name) for name, files in libraries().items()]
    every = [file for files, _ in parts for file in files]
    made: list[Extension] = mypycify([*checking, *every], separate=parts, opt_level="2", debug_level="0")
    return made


if __name__ == "__main__":
    from setuptools import setup

    wanted = os.environ.get("COMPILE_GATEWAY") == "1"
    setup(setup_requires=REQUIRES if wanted else [], ext_modules=extensions() if wanted else [])
