"""A soak's report: its verdict, its account and its chart."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.report import markdown

from endurance import chart
from endurance.ledger import LEFT, RESTARTED, Ledger
from endurance.samples import Record
from endurance.verdict import Finding, warm

RATE_SECONDS = 10.0
"""Stretch over which requests are counted for the chart."""


@dataclass(frozen=True)
class Soak:
    """What was run and what came of it. Traffic began for `minutes`; `seconds` later the last visit had ended. `counts`
    are requests begun and unexplained failures over time."""

    minutes: float
    seconds: float
    rate: float
    workers: int
    reloads: int
    ledger: Ledger
    record: Record
    counts: Sequence[tuple[float, int, int]]
    findings: Sequence[Finding]
    log: str
    """What the gateway has said."""

    @property
    def clean(self) -> bool:
        """Whether everything passed."""
        return all(finding.passed for finding in self.findings)


def verdict_rows(soak: Soak) -> list[list[str]]:
    """One row for each thing that was looked at."""
    rows = [["looked at", "seen", "verdict"]]
    return rows + [[one.what, one.seen, "pass" if one.passed else "FAIL"] for one in soak.findings]


def account_rows(ledger: Ledger, causes: Sequence[str] = (RESTARTED, LEFT)) -> list[list[str]]:
    """One row for each kind of traffic, with a column for each of these causes of failures."""
    rows = [["traffic", "sent", "responses", *causes, "unexplained"]]
    for kind in sorted(ledger.begun):
        explained = (ledger.explained[kind, cause] for cause in causes)
        numbers = (ledger.begun[kind], ledger.answered[kind], *explained, ledger.unexplained[kind])
        rows.append([kind, *(f"{count:,}" for count in numbers)])
    return rows


def svg(soak: Soak) -> str:
    """Memory, descriptors and requests over time; the marks are restarts of peers."""
    moments = soak.record.moments.items()
    rates, failures = [], []
    last_at, last_count = 0.0, 0
    for at, count, failed in soak.counts:
        if at - last_at >= RATE_SECONDS:
            rates.append((at, (count - last_count) / (at - last_at)))
            last_at, last_count = at, count
        failures.append((at, float(failed)))
    panels = [
        chart.Panel("memory, MiB", {name: [(one.at, one.memory) for one in line] for name, line in moments}),
        chart.Panel("descriptors", {name: [(one.at, one.descriptors) for one in line] for name, line in moments}),
        chart.Panel("requests a second, and unexplained failures so far", {"requests": rates, "failures": failures}),
    ]
    marks = [outage.began - soak.ledger.started for outage in soak.ledger.outages]
    title = f"The gateway under mixed traffic for {soak.minutes:g} minutes"
    return chart.svg(title, panels, soak.seconds, warm(soak.seconds), marks)


def text(soak: Soak, load: float) -> str:
    """The report as Markdown."""
    restarts = len(soak.ledger.outages)
    details = "".join(f"- {line}\n" for line in soak.ledger.details)
    return (
        f"# {soak.minutes:g} minutes of mixed traffic\n\n"
        f"![Memory, descriptors and requests over time](soak.svg)\n\n"
        f"`scripts/soak --minutes {soak.minutes:g} --rate {soak.rate:g} --workers {soak.workers}` on "
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; "
        f"load average before: {load:.1f}. "
        f"{soak.reloads} reloads, {restarts} restarts of peers. The first {warm(soak.seconds) / 60:.3g} minutes are "
        f"warm-up; marks at the foot of each panel are restarts.\n\n"
        f"**{'Clean' if soak.clean else 'Not clean'}.**\n\n"
        + markdown(verdict_rows(soak))
        + "\n\n"
        + markdown(account_rows(soak.ledger))
        + "\n"
        + (f"\nUnexplained:\n\n{details}" if details else "")
    )


def save(folder: Path, soak: Soak, load: float) -> None:
    """Write soak.md and soak.svg; gateway.log too if it was not clean."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.md").write_text(text(soak, load))
    (folder / "soak.svg").write_text(svg(soak))
    if not soak.clean:
        (folder / "gateway.log").write_text(soak.log)
