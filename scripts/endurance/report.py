"""The report of a run: its verdict, its account and its chart."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.report import markdown

from endurance.ledger import Ledger
from endurance.options import Options
from endurance.verdict import Finding


@dataclass(frozen=True)
class Report:
    """What was run and what came of it. The title is `minutes of SUBJECT`; `remarks` follow what is said of the
    machine; `causes` are those of explained failures, a column of the account for each; `faults` are events that came
    to what they should not; `log` is what the gateway has said."""

    command: str
    options: Options
    subject: str
    caption: str
    remarks: str
    findings: Sequence[Finding]
    ledger: Ledger
    causes: Sequence[str]
    faults: Sequence[str]
    chart: str
    log: str

    @property
    def clean(self) -> bool:
        """Whether everything passed."""
        return all(finding.passed for finding in self.findings)

    @property
    def unexplained(self) -> list[str]:
        """Failures and faults that nothing explains, in words."""
        return [*self.ledger.details, *self.faults]

    def verdict_rows(self) -> list[list[str]]:
        """One row for each thing that was looked at."""
        rows = [["looked at", "seen", "verdict"]]
        return rows + [[one.what, one.seen, "pass" if one.passed else "FAIL"] for one in self.findings]

    def account_rows(self) -> list[list[str]]:
        """One row for each kind of traffic."""
        ledger = self.ledger
        rows = [["traffic", "sent", "responses", *self.causes, "unexplained"]]
        for kind in sorted(ledger.begun):
            explained = (ledger.explained[kind, cause] for cause in self.causes)
            numbers = (ledger.begun[kind], ledger.answered[kind], *explained, ledger.unexplained[kind])
            rows.append([kind, *(f"{count:,}" for count in numbers)])
        return rows

    def text(self, load: float) -> str:
        """As Markdown; `load` is the machine's average before the run."""
        details = "".join(f"- {line}\n" for line in self.unexplained)
        return (
            f"# {self.options.minutes:g} minutes of {self.subject}\n\n"
            f"![{self.caption}]({self.command}.svg)\n\n"
            f"`scripts/{self.command} {self.options}` on "
            f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; "
            f"load average before: {load:.1f}.{self.remarks and f' {self.remarks}'}\n\n"
            f"**{'Clean' if self.clean else 'Not clean'}.**\n\n"
            + markdown(self.verdict_rows())
            + "\n\n"
            + markdown(self.account_rows())
            + "\n"
            + (f"\nUnexplained:\n\n{details}" if details else "")
        )

    def save(self, folder: Path, load: float) -> None:
        """Write the page and its chart; gateway.log too if it was not clean."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.command}.md").write_text(self.text(load))
        (folder / f"{self.command}.svg").write_text(self.chart)
        if not self.clean:
            (folder / "gateway.log").write_text(self.log)
