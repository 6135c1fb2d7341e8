"""scripts/drill does everything at once, and accounts for every request."""

import asyncio
import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.proxy.gateway import ROOT
from tests.proxy.integration.load_scripts import ended
from tests.waiting import until

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


def deploying() -> set[int]:
    """The `deploy` commands that threads of this process run."""
    from benchmark.measure import descendants

    return {pid for pid in descendants(os.getpid()) if b"deploy" in command_line(pid)}


def command_line(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):  # it has just ended
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


def test_what_is_replaced_serves_until_every_worker_has_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an operator would: the command again, as long as it says that a worker is behind."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from endurance.ledger import Ledger
    from rehearsal.stage import Stage

    with closing(Stage(tmp_path, 2)) as stage, ThreadPoolExecutor(1) as threads:
        stage.open()
        [old, _] = stage.peers
        [behind, _] = [pid for pid, name in stage.processes().items() if name == "worker"]
        os.kill(behind, signal.SIGSTOP)
        try:
            done = threads.submit(asyncio.run, stage.deploy(Ledger()))
            first = until(deploying, "the command runs")
            until(lambda: deploying() - first or done.done(), "it runs again")
            assert old.server is not None
            assert old.server.process.poll() is None
        finally:
            os.kill(behind, signal.SIGCONT)
        done.result()
        assert stage.faults == []
        assert old not in stage.peers
