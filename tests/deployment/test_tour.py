"""The picture at the top of the documentation can be made again at any time."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 300


@pytest.mark.long
@pytest.mark.component("chromium")
@pytest.mark.timeout(SECONDS)
def test_the_tour_is_made_from_question_to_verdict(tmp_path: Path) -> None:
    made = tmp_path / "tour.webp"
    command = [sys.executable, str(ROOT / "scripts" / "tour"), str(made)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    picture = made.read_bytes()
    assert (picture[:4], picture[8:16]) == (b"RIFF", b"WEBPVP8X")
    assert len(picture) == 8 + int.from_bytes(picture[4:8], "little") < 1_000_000
    assert picture.count(b"ANMF") == 11, "a frame for each step"
