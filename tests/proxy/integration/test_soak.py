"""scripts/soak drives the gateway, accounts for every request and judges by slope."""

from collections import Counter
from pathlib import Path

import pytest

from tests.proxy.gateway import ROOT
from tests.proxy.integration.load_scripts import ended, running
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.component("openssl")


@pytest.mark.alone
def test_a_short_soak_accounts_for_every_request(tmp_path: Path) -> None:
    out = tmp_path / "report"
    code, said = ended("soak", "--minutes", "0.1", "--rate", "10", "--workers", "1", "--out", str(out), folder=tmp_path)
    assert code in (0, 1), said
    report = (out / "soak.md").read_text()
    assert "| unexplained failures | 0 | pass |" in report, said
    assert "| exit code after TERM | 0 | pass |" in report
    assert (out / "soak.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("name", ["soak", "drill"])
@pytest.mark.parametrize("minutes", ["0", "nan"])
def test_a_time_of_nothing_is_refused(name: str, minutes: str, tmp_path: Path) -> None:
    code, said = ended(name, "--minutes", minutes, folder=tmp_path)
    assert code == 2
    assert f"--minutes {minutes}: must be 0." in said


@pytest.mark.parametrize("name", ["soak", pytest.param("drill", marks=pytest.mark.component("pebble"))])
def test_told_to_end_while_it_starts_it_leaves_nothing(name: str, tmp_path: Path) -> None:
    with running(name, "--minutes", "1", folder=tmp_path) as script:
        until(lambda: servers(tmp_path), "its first server")
        script.terminate()
        said, _ = script.communicate(timeout=PATIENCE)
    assert script.returncode == 130, said
    assert servers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def servers(folder: Path) -> list[int]:
    """The processes that work below this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if folder in (process / "cwd").readlink().parents:
                found.append(int(process.name))
        except OSError:  # it has just ended, or is another account's
            continue
    return found


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the scripts can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def test_growth_is_told_from_bursts(scripts: None) -> None:
    from endurance.verdict import slope

    bursts = [(float(at), 40.0 + (25.0 if at % 7 == 0 else 0.0)) for at in range(600)]
    leak = [(at, value + at / 60) for at, value in bursts]
    assert slope(bursts) == 0
    assert slope(leak) == pytest.approx(1 / 60, rel=0.05)


def test_what_is_held_beyond_the_traffic_is_named(scripts: None) -> None:
    from endurance.verdict import surplus

    before = {"master": Counter({"socket": 4}), "worker 1": Counter({"socket": 3, "/dev/null": 1})}
    after = {"master": Counter({"socket": 4}), "worker 1": Counter({"socket": 3, "/tmp/ (deleted)": 2})}
    assert surplus(before, after) == {"master": Counter(), "worker 1": Counter({"/tmp/ (deleted)": 2})}


def test_failures_are_explained_by_outages_they_overlap(scripts: None) -> None:
    from endurance.ledger import LEFT, RESTARTED, Ledger, LeftOnPurpose, Outage

    ledger = Ledger()
    with ledger.exchange("GET"):
        pass
    with ledger.exchange("GET"):
        raise OSError("cut off")
    with ledger.exchange("GET"):
        raise LeftOnPurpose
    now = ledger.started
    ledger.outages.append(Outage(now + 1000, now + 1010))
    with ledger.exchange("GET", now + 1005):
        raise OSError("cut off")
    with ledger.exchange("GET", now + 1020):
        raise OSError("cut off")
    assert ledger.answered == {"GET": 1}
    assert ledger.explained == {("GET", LEFT): 1, ("GET", RESTARTED): 1}
    assert ledger.failed == 2
    assert not ledger.open


def test_an_outage_explains_what_it_says_it_explains(scripts: None) -> None:
    from endurance.ledger import Ledger, Outage

    ledger = Ledger()
    now = ledger.started
    ledger.outages.append(Outage(now, now + 10, "killed", lambda kind, _: kind == "GET", severs=True))
    for kind, begun, kept in (("GET", 20, 5), ("GET", 20, 15), ("POST", 5, 5)):
        with ledger.exchange(kind, now + begun, now + kept):
            raise OSError("cut off")
    assert ledger.explained == {("GET", "killed"): 1}
    assert ledger.unexplained == {"GET": 1, "POST": 1}
