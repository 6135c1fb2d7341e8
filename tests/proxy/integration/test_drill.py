"""scripts/drill does everything at once, and accounts for every request."""

import asyncio
import contextlib
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.proxy.authority import Authority
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


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the scripts can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def test_a_crossed_upload_is_one_that_was_not_read(scripts: None) -> None:
    from endurance.ledger import ConnectionEndedError, Ledger, Outage
    from rehearsal.drill import crossed
    from rehearsal.stage import UPGRADED, upgraded

    ledger = Ledger()
    ledger.outages.append(Outage(ledger.started, cause=UPGRADED, explains=upgraded))
    with ledger.exchange("HTTP/1.1 upload"):
        raise ConnectionEndedError("/upload?7")
    with ledger.exchange("HTTP/1.1 upload"):
        raise OSError("cut off")
    assert ledger.explained == {("HTTP/1.1 upload", UPGRADED): 1}
    assert ledger.crossed == [(UPGRADED, "/upload?7")]
    assert ledger.failed == 1
    assert crossed(["/upload?7"], '"POST /upload?77 HTTP/1.1" 200\n').passed
    assert not crossed(["/upload?7"], '"POST /upload?7 HTTP/1.1" 499\n').passed


@pytest.mark.parametrize("kept", [True, False])
def test_an_upload_knows_if_its_connection_was_used_before(scripts: None, authority: Authority, kept: bool) -> None:
    from endurance.clients import Http1
    from endurance.ledger import Ledger

    async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to a first request on the connection, if `kept`, and close at the next one."""
        if kept:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"POST /upload?1 ")
        writer.close()

    async def upload() -> Ledger:
        ledger = Ledger()
        async with await asyncio.start_server(ends, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = Http1(ledger, url, url, authority.file, random.Random(1), 0.0)
            await client.open()
            if kept:
                await (await client.session.get(url)).read()
            await client.upload()
            await client.close()
        return ledger

    ledger = asyncio.run(upload())
    [line] = ledger.details
    assert ("ConnectionEndedError: /upload?1" in line) is kept


def deploying() -> set[int]:
    """The `deploy` commands that threads of this process run."""
    from benchmark.measure import descendants

    return {pid for pid in descendants(os.getpid()) if b"deploy" in command_line(pid)}


def command_line(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):  # it has just ended
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


def test_a_deployment_is_repeated_while_a_worker_is_behind(tmp_path: Path, scripts: None) -> None:
    """As an operator would: the command again, as long as it says that a worker is behind."""
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
