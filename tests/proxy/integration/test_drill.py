"""scripts/drill does everything at once, and accounts for every request."""

from pathlib import Path

import pytest

from tests.proxy.integration.load_scripts import ended

pytestmark = [pytest.mark.component("openssl"), pytest.mark.component("pebble")]


@pytest.mark.alone
def test_a_short_drill_explains_every_failure(tmp_path: Path) -> None:
    out = tmp_path / "report"
    code, said = ended("drill", "--minutes", "0.1", "--rate", "8", "--workers", "1", "--out", str(out), folder=tmp_path)
    assert code == 0, said
    report = (out / "drill.md").read_text()
    assert "| unexplained failures | 0 | pass |" in report
    assert "| processes left after TERM | none | pass |" in report
    assert "1 deployments" in report or "2 deployments" in report
    assert "deployments" in (out / "drill.svg").read_text()
