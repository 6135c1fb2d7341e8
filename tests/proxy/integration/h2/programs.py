"""Programs that speak HTTP/2: curl, nghttp and h2load."""

import subprocess

from tests.conftest import program
from tests.waiting import PATIENCE


def run(*command: str) -> str:
    """What an installed program says on its way to success."""
    path = program(command[0])
    assert path is not None
    done = subprocess.run([path, *command[1:]], capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("latin-1")
