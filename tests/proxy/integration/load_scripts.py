"""The scripts that put the gateway under load, as processes that leave none behind."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.proxy.gateway import ROOT

LONGEST = 240.0
"""Seconds after which a script is told to end; less than a test may take."""


@contextlib.contextmanager
def running(name: str, *words: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """scripts/NAME, with its servers' files below the folder; told to end if it still runs afterwards."""
    command = [sys.executable, str(ROOT / "scripts" / name), *words]
    with subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(folder)}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def ended(name: str, *words: str, folder: Path) -> tuple[int, str]:
    """The exit code of scripts/NAME, and all that it said."""
    with running(name, *words, folder=folder) as process:
        try:
            said, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise AssertionError(f"not within {LONGEST:g} s: scripts/{name} ends: {process.communicate()[0]}") from None
    return process.returncode, said
