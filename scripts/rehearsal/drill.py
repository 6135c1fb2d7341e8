"""A drill: what was sampled while it ran, what is looked at, its chart and its report."""

import contextlib
import sys
from dataclasses import dataclass, field

from endurance import chart, verdict
from endurance.ledger import LEFT, RESTARTED, Ledger
from endurance.options import Options
from endurance.report import Report
from endurance.samples import anonymous_mib
from endurance.verdict import Finding

from rehearsal.authority import LIFE_SECONDS
from rehearsal.stage import KILLED, REPLACED, UPGRADED, Stage


@dataclass(frozen=True)
class Sample:
    """At one moment, in seconds since the beginning: requests begun, failures that are explained and that are not, and
    the memory of all processes of the gateway in MiB."""

    at: float
    begun: int
    explained: int
    unexplained: int
    memory: float


@dataclass
class Drill:
    """One of them."""

    options: Options
    stage: Stage
    ledger: Ledger = field(default_factory=Ledger)
    samples: list[Sample] = field(default_factory=list)
    _said: int = field(default=0, init=False)
    """Of the unexplained failures."""

    def take(self, at: float) -> None:
        """One sample; new unexplained failures are said at once."""
        ledger, memory = self.ledger, 0.0
        for line in ledger.details[self._said :]:
            print(f"unexplained: {line}", file=sys.stderr, flush=True)
        self._said = len(ledger.details)
        for pid in self.stage.processes():
            with contextlib.suppress(OSError):  # it has just ended
                memory += anonymous_mib(pid)
        self.samples.append(Sample(at, ledger.begun.total(), ledger.explained.total(), ledger.failed, memory))

    def progress(self) -> str:
        """How many certificates were renewed."""
        return f", {self.stage.renewals} renewals"

    def report(self, seconds: float, code: int | None) -> Report:
        """Of a run whose last visit ended after so many seconds; `code` is 0 if the gateway then ended with all of its
        processes."""
        stage, log = self.stage, self.stage.access_log()
        moments = {name: [at - self.ledger.started for at in found] for name, found in stage.moments.items()}
        return Report(
            command="drill",
            options=self.options,
            subject="everything at once",
            caption="Requests, failures and events over time",
            remarks="",
            findings=[
                *verdict.accounts(self.ledger),
                events({name: len(found) for name, found in moments.items()}, stage.renewals, seconds),
                Finding("failed deployments", str(len(stage.faults)), not stage.faults),
                access_log(log, self.ledger),
                crossed([target for cause, target in self.ledger.crossed if cause == UPGRADED], log),
                verdict.traces(stage.log()),
                Finding("processes left after TERM", "none" if code == 0 else "some", code == 0),
            ],
            ledger=self.ledger,
            causes=(LEFT, RESTARTED, REPLACED, KILLED, UPGRADED),
            faults=stage.faults,
            chart=self.chart(seconds, moments),
            log=stage.log(),
        )

    def chart(self, seconds: float, moments: dict[str, list[float]]) -> str:
        """Requests, failures and memory over time, above the moments of all events."""
        samples = self.samples
        failures = {
            "explained": [(sample.at, float(sample.explained)) for sample in samples],
            "unexplained": [(sample.at, float(sample.unexplained)) for sample in samples],
        }
        requests = chart.rates([(sample.at, sample.begun) for sample in samples], seconds)
        memory = [(sample.at, sample.memory) for sample in samples if sample.memory]  # none while masters change
        panels = [
            chart.Panel("requests a second", {"requests": requests}),
            chart.Panel("failures so far", failures),
            chart.Panel("memory of all processes, MiB", {"memory": memory}),
        ]
        title = f"Everything at once for {self.options.minutes:g} minutes"
        return chart.svg(title, panels, seconds, 0.0, (), moments)


def events(counts: dict[str, int], renewals: int, seconds: float) -> Finding:
    """Did everything happen that a run of so many seconds has time for?"""
    happened = ", ".join(f"{count} {event}" for event, count in counts.items())
    renewed = renewals > 0 or seconds <= 2 * LIFE_SECONDS
    return Finding("events", f"{happened}, {renewals} renewals", all(counts.values()) and renewed)


def access_log(log: str, ledger: Ledger) -> Finding:
    """Has every response a line? Exchanges that the client left have one too, and a WebSocket has one at its end."""
    lines = log.count("\n")
    responses = sum(count for kind, count in ledger.answered.items() if not kind.startswith("WebSocket"))
    return Finding("access log", f"{lines:,} lines for {responses:,} responses", lines >= responses)


def crossed(targets: list[str], log: str) -> Finding:
    """Were these requests, whose idle connection an old worker closed as they were sent, really never read?"""
    read = [target for target in targets if f" {target} " in log]
    return Finding(
        "uploads that met the end of their connection", f"{len(targets)}, {len(read)} of them read", not read
    )
