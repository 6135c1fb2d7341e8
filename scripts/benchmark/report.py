"""The measurements as a table for the terminal, as Markdown and as JSON."""

import dataclasses
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark import current
from benchmark.rounds import Memory, Plan, Results, Series
from benchmark.scenarios import COMPILED, LATENCY, PURE, Bar, Scenario

VERSIONS = {
    "nginx": ["nginx", "-v"],
    "haproxy": ["haproxy", "-v"],
    "caddy": ["caddy", "version"],
    **{name: [str(current.program(name)), release.version] for name, release in current.RELEASES.items()},
}
FORMS = (PURE, COMPILED)
FULL = 0.95
"""From this share on a core counts as saturated."""


def medians(results: Results, scenario: str) -> dict[str, float]:
    """What each peer took, where it could be measured."""
    return {peer: series.median for peer, series in results.get(scenario, {}).items() if series.values}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of a bar: the multiple that was measured (the value itself where it is of nothing), and if it is met.
    None: not measured."""

    measured: float | None
    met: bool | None


def verdict(scenario: Scenario, bar: Bar, results: Results) -> Verdict:
    """Hold the measurements against a bar."""
    references = medians(results, scenario.name)
    own = references.get(bar.form)
    if bar.of in results and bar.form in medians(results, bar.of):
        references[bar.of] = medians(results, bar.of)[bar.form]
    if own is None or (bar.of and bar.of not in references):
        return Verdict(None, None)
    return Verdict(own / references[bar.of] if bar.of else own, bar.met(own, references))


def bar_rows(scenarios: Sequence[Scenario], results: Results) -> list[list[str]]:
    """One row per bar: what it says, what was measured, and whether it is met."""
    rows = [["scenario", "form", "bar", "measured", "met"]]
    for scenario in scenarios:
        for bar in scenario.bars:
            found = verdict(scenario, bar, results)
            measured = "-" if found.measured is None else f"{found.measured:.2f}"
            met = "not measured" if found.met is None else "yes" if found.met else "NO"
            rows.append([scenario.title, bar.form, str(bar), measured, met])
    return rows


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(series: Series, own: Sequence[float]) -> str:
    """Median, the span of its rounds, and what multiple of it each form of the gateway costs."""
    if not series.values:
        return "failed" if series.failure else "-"
    text = f"{number(series.median)} [{number(min(series.values))}-{number(max(series.values))}]"
    multiples = "/".join(f"{one / series.median:.2f}" for one in own if series.median > 0)
    return text + (f" x{multiples}" if multiples else "")


def cost_rows(scenarios: Sequence[Scenario], results: Results, plan: Plan) -> list[list[str]]:
    """One row per scenario: costs and ratios."""
    rows = [["scenario", "unit", *plan.peers]]
    for scenario in scenarios:
        row = results[scenario.name]
        found = medians(results, scenario.name)
        own = [found[form] for form in FORMS if form in found]
        cells = [cell(row[peer], [] if peer in FORMS else own) for peer in plan.peers]
        rows.append([scenario.title, scenario.unit, *cells])
    return rows


def speed_rows(scenarios: Sequence[Scenario], results: Results, plan: Plan) -> list[list[str]]:
    """One row per scenario under load: answers per second, p50/p99 in ms, how busy the two cores were."""
    rows = [["scenario", *(f"{peer}: 1/s, p50/p99 ms, core" for peer in plan.peers)]]
    for scenario in scenarios:
        if scenario.idle:
            continue
        cells = []
        for peer in plan.peers:
            samples = results[scenario.name][peer].samples
            if not samples:
                cells.append("-")
                continue
            middle = sorted(samples, key=lambda sample: sample.answers / sample.spent.seconds)[len(samples) // 2]
            full = " driver full" if middle.spent.driver_share > FULL and middle.proxy_share < FULL else ""
            cells.append(
                f"{middle.answers / middle.spent.seconds:,.0f}, {middle.p50:.2f}/{middle.p99:.2f}, "
                f"{middle.proxy_share:.0%}{full}"
            )
        rows.append([scenario.title, *cells])
    return rows


def split_rows(scenarios: Sequence[Scenario], results: Results, plan: Plan) -> list[list[str]]:
    """One row per scenario whose cost is a request's: user time + the kernel's, medians, in its unit."""
    rows = [["scenario", "unit", *(f"{peer}: user + kernel" for peer in plan.peers)]]
    for scenario in scenarios:
        if scenario.idle or scenario.unit == LATENCY:
            continue
        cells = []
        for peer in plan.peers:
            series = results[scenario.name][peer]
            if not series.values:
                cells.append("-")
                continue
            kernel = statistics.median(sample.kernel_share for sample in series.samples) * series.median
            cells.append(f"{number(series.median - kernel)} + {number(kernel)}")
        rows.append([scenario.title, scenario.unit, *cells])
    return rows


def failures(results: Results) -> list[str]:
    """One line per measurement that could not be made."""
    return [
        f"{scenario}, {peer}: {series.failure}"
        for scenario, row in results.items()
        for peer, series in row.items()
        if series.failure
    ]


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ([text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines)


def machine(plan: Plan) -> dict[str, Any]:
    """Where and with what it was measured."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    versions = {PURE: f"Python {platform.python_version()} ({Path(sys.executable).resolve()})"}
    for peer in plan.peers:
        if peer in VERSIONS:
            said = subprocess.run(VERSIONS[peer], capture_output=True, text=True, timeout=10, check=False)
            versions[peer] = (said.stdout or said.stderr).splitlines()[0].strip()
    return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release(), "versions": versions}


def as_json(scenarios: Sequence[Scenario], results: Results, memory: Memory, plan: Plan) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "machine": machine(plan),
        "plan": dataclasses.asdict(plan),
        "memory_after_load_kib": {who: {"pss": pss, "rss": rss} for who, (pss, rss) in memory.items()},
        "scenarios": {
            scenario.name: {
                "title": scenario.title,
                "unit": scenario.unit,
                "connections": scenario.connections,
                "bars": [
                    {"form": bar.form, "bar": str(bar), **dataclasses.asdict(verdict(scenario, bar, results))}
                    for bar in scenario.bars
                ],
                "peers": {
                    peer: {
                        "values": series.values,
                        "median": series.median if series.values else None,
                        "rounds": [dataclasses.asdict(sample) for sample in series.samples],
                        "failure": series.failure or None,
                    }
                    for peer, series in results[scenario.name].items()
                },
            }
            for scenario in scenarios
        },
    }
