"""Commands whose output nobody takes."""

import subprocess
import sys
from pathlib import Path

OUTPUTS = {"a reader that has seen enough": "| true", "a full disk": "> /dev/full", "nothing": ">&-"}
"""Where the output goes, as the shell writes it."""


def check_unwritten(module: str, arguments: list[str], output: str) -> None:
    """A command ends without a traceback, and says why if that is worth a word."""
    command = f"{sys.executable} -m {module} {' '.join(arguments)} {OUTPUTS[output]}"
    root = Path(__file__).parents[1]
    ended = subprocess.run(["sh", "-c", command], cwd=root, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    if output == "a full disk" and arguments != ["unknown"]:
        assert ended.returncode == 1
        assert "output cannot be written: No space left on device" in ended.stderr
