"""A soak: what was sampled while it ran, its chart and its report."""

from dataclasses import dataclass, field

from endurance import chart, verdict
from endurance.ledger import LEFT, RESTARTED, Ledger
from endurance.options import Options
from endurance.report import Report
from endurance.samples import Record
from endurance.site import Site


@dataclass
class Soak:
    """One of them. `counts` are requests begun and unexplained failures so far, at so many seconds."""

    options: Options
    site: Site
    record: Record = field(default_factory=Record)
    ledger: Ledger = field(default_factory=Ledger)
    counts: list[tuple[float, int, int]] = field(default_factory=list)

    def take(self, at: float) -> None:
        """One sample."""
        self.record.take(self.site.processes())
        self.counts.append((at, self.ledger.begun.total(), self.ledger.failed))

    def progress(self) -> str:
        """The memory of every process."""
        memory = (f"{name} {moments[-1].memory:.1f} MiB" for name, moments in self.record.moments.items())
        return f"; {', '.join(memory)}"

    def report(self, seconds: float, findings: list[verdict.Finding]) -> Report:
        """Of a run whose last visit ended after so many seconds."""
        restarts, warm = len(self.ledger.outages), verdict.warm(seconds)
        return Report(
            command="soak",
            options=self.options,
            subject="mixed traffic",
            caption="Memory, descriptors and requests over time",
            remarks=f"{self.site.reloads} reloads, {restarts} restarts of peers. The first {warm / 60:.3g} minutes are "
            "warm-up; marks at the foot of each panel are restarts.",
            findings=findings,
            ledger=self.ledger,
            causes=(RESTARTED, LEFT),
            faults=(),
            chart=self.chart(seconds),
            log=self.site.log(),
        )

    def chart(self, seconds: float) -> str:
        """Memory, descriptors and requests over time; the marks are restarts of peers."""
        moments = self.record.moments.items()
        requests = {
            "requests": chart.rates([(at, begun) for at, begun, _ in self.counts], seconds),
            "failures": [(at, float(failed)) for at, _, failed in self.counts],
        }
        panels = [
            chart.Panel("memory, MiB", {name: [(one.at, one.memory) for one in line] for name, line in moments}),
            chart.Panel("descriptors", {name: [(one.at, one.descriptors) for one in line] for name, line in moments}),
            chart.Panel("requests a second, and unexplained failures so far", requests),
        ]
        marks = [outage.began - self.ledger.started for outage in self.ledger.outages]
        title = f"The gateway under mixed traffic for {self.options.minutes:g} minutes"
        return chart.svg(title, panels, seconds, verdict.warm(seconds), marks)
