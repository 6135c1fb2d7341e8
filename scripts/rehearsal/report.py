"""A drill's verdict, its account and its chart."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.report import markdown
from endurance import chart
from endurance.ledger import LEFT, RESTARTED, Ledger
from endurance.report import account_rows
from endurance.verdict import Finding, accounts

from rehearsal.authority import LIFE_SECONDS
from rehearsal.stage import KILLED, REPLACED, UPGRADED

CAUSES = (LEFT, RESTARTED, REPLACED, KILLED, UPGRADED)
RATE_SECONDS = 10.0
"""Stretch over which requests are counted for the chart."""


@dataclass(frozen=True)
class Sample:
    """At one moment, in seconds since the beginning: requests begun, failures that are explained and that are not, and
    the memory of all processes of the gateway in MiB."""

    at: float
    begun: int
    explained: int
    unexplained: int
    memory: float


@dataclass(frozen=True)
class Drill:
    """What was run and what came of it. `moments`: when each kind of event happened, in seconds since the beginning."""

    minutes: float
    seconds: float
    rate: float
    workers: int
    ledger: Ledger
    samples: Sequence[Sample]
    moments: Mapping[str, Sequence[float]]
    renewals: int
    faults: Sequence[str]
    log: str
    """What the gateway has said."""
    lines: int
    """Of its access logs."""
    code: int | None

    @property
    def clean(self) -> bool:
        return all(finding.passed for finding in self.findings)

    @property
    def findings(self) -> list[Finding]:
        """Everything that was looked at."""
        traces = self.log.count("Traceback (most recent call last)")
        responses = sum(count for kind, count in self.ledger.answered.items() if not kind.startswith("WebSocket"))
        happened = ", ".join(f"{len(moments)} {event}" for event, moments in self.moments.items())
        missing = [event for event, moments in self.moments.items() if not moments]
        if not self.renewals and self.seconds > 2 * LIFE_SECONDS:
            missing.append("renewals")
        return [
            *accounts(self.ledger),
            Finding("events", f"{happened}, {self.renewals} renewals", not missing),
            Finding("failed deployments", str(len(self.faults)), not self.faults),
            Finding("access log", f"{self.lines:,} lines for {responses:,} responses", self.lines >= responses),
            Finding("stack traces in the gateway's log", str(traces), not traces),
            Finding("processes left after TERM", "none" if self.code == 0 else "some", self.code == 0),
        ]


def verdict_rows(drill: Drill) -> list[list[str]]:
    """One row for each thing that was looked at."""
    rows = [["looked at", "seen", "verdict"]]
    return rows + [[one.what, one.seen, "pass" if one.passed else "FAIL"] for one in drill.findings]


def cause_rows(drill: Drill) -> list[list[str]]:
    """The account, a column for each cause."""
    return account_rows(drill.ledger, CAUSES)


def svg(drill: Drill) -> str:
    """Requests, failures and memory over time, above the moments of all events."""
    rates: chart.Points = []
    last_at, last_count = 0.0, 0
    for sample in drill.samples:
        if sample.at - last_at >= min(RATE_SECONDS, drill.seconds / 10):
            rates.append((sample.at, (sample.begun - last_count) / (sample.at - last_at)))
            last_at, last_count = sample.at, sample.begun
    memory = [(sample.at, sample.memory) for sample in drill.samples if sample.memory]  # none while masters change
    panels = [
        chart.Panel("requests a second", {"requests": rates}),
        chart.Panel(
            "failures so far",
            {
                "explained": [(sample.at, float(sample.explained)) for sample in drill.samples],
                "unexplained": [(sample.at, float(sample.unexplained)) for sample in drill.samples],
            },
        ),
        chart.Panel("memory of all processes, MiB", {"memory": memory}),
    ]
    title = f"Everything at once for {drill.minutes:g} minutes"
    return chart.svg(title, panels, drill.seconds, 0.0, (), drill.moments)


def text(drill: Drill, load: float) -> str:
    """The report as Markdown."""
    details = "".join(f"- {line}\n" for line in (*drill.ledger.details, *drill.faults))
    return (
        f"# {drill.minutes:g} minutes of everything at once\n\n"
        "![Requests, failures and events over time](drill.svg)\n\n"
        f"`scripts/drill --minutes {drill.minutes:g} --rate {drill.rate:g} --workers {drill.workers}` on "
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; "
        f"load average before: {load:.1f}.\n\n"
        f"**{'Clean' if drill.clean else 'Not clean'}.**\n\n"
        + markdown(verdict_rows(drill))
        + "\n\n"
        + markdown(cause_rows(drill))
        + "\n"
        + (f"\nUnexplained:\n\n{details}" if details else "")
    )


def save(folder: Path, drill: Drill, load: float) -> None:
    """Write drill.md and drill.svg; gateway.log too if it was not clean."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "drill.md").write_text(text(drill, load))
    (folder / "drill.svg").write_text(svg(drill))
    if not drill.clean:
        (folder / "gateway.log").write_text(drill.log)
