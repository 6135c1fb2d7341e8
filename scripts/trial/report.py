"""What was measured, as a table for the terminal, as Markdown, JSON and pictures."""

import dataclasses
import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.chart import COLOURS, Group, bars
from benchmark.report import VERSIONS, markdown, number

from trial import curves
from trial.phases import Plan, Series, quantile

Trial = Mapping[str, Series]
"""What was measured, by site."""

FULL = 0.95
"""From this share of a core on, this process and not the site was the limit."""
TITLE = "The service behind each front"


@dataclass(frozen=True)
class Measure:
    """One figure of a round: its name there, what it is called, its unit."""

    name: str
    title: str
    unit: str
    drawn: bool = False


MEASURES = (
    Measure("requests_per_second", "API calls", "1/s, more is better", drawn=True),
    Measure("api_p50_ms", "API call, p50", "ms"),
    Measure("api_p95_ms", "API call, p95", "ms"),
    Measure("api_p99_ms", "API call, p99", "ms"),
    Measure("front_us_per_request", "front, for an API call", "µs of a core", drawn=True),
    Measure("application_us_per_request", "application, for an API call", "µs of a core", drawn=True),
    Measure("asked_p50_ms", "asking a debate, p50", "ms"),
    Measure("asked_p99_ms", "asking a debate, p99", "ms"),
    Measure("unwatched_seconds", "all debates, unwatched", "s"),
    Measure("front_ms_per_debate", "front, for an unwatched debate", "ms of a core"),
    Measure("application_ms_per_debate", "application, for an unwatched debate", "ms of a core", drawn=True),
    Measure("watched_seconds", "all debates, watched", "s"),
    Measure("messages_per_second", "messages to watchers", "1/s"),
    Measure("delivered_p50_ms", "event, stored to seen, p50", "ms"),
    Measure("delivered_p95_ms", "event, stored to seen, p95", "ms"),
    Measure("delivered_p99_ms", "event, stored to seen, p99", "ms"),
    Measure("front_us_per_message", "front, for a message", "µs of a core", drawn=True),
    Measure("application_ms_per_watcher", "application, for one watcher of one debate", "ms of a core"),
    Measure("front_kib_per_watcher", "front, memory of a watcher", "KiB, first round", drawn=True),
    Measure("application_kib_per_watcher", "application, memory of a watcher", "KiB, first round"),
    Measure("front_mib", "front, memory", "MiB", drawn=True),
    Measure("application_mib", "application, memory", "MiB"),
    Measure("calls_driver_share", "load generator, API calls", "of one core"),
    Measure("watched_driver_share", "load generator, debates watched", "of one core"),
)
COUNTS = {
    "requests": "API calls answered",
    "debates": "debates asked",
    "completed": "debates completed",
    "events": "events seen by watchers",
    "messages": "messages to watchers",
    "gaps": "gaps",
    "repeats": "events seen twice",
    "errors": "errors",
}


def colours(trial: Trial) -> dict[str, str]:
    """One for each site; the gateway's own is that of the benchmarks."""
    return {name: COLOURS.get(name, COLOURS["proxy"]) for name in trial}


def column(series: Series, name: str) -> list[float]:
    """One measure in all rounds that have it."""
    return [values[name] for values in series.values if name in values]


def cell(values: Sequence[float]) -> str:
    """The median, and the span where there is one."""
    if not values:
        return "-"
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} [{number(min(values))}-{number(max(values))}]"


def rows(trial: Trial) -> list[list[str]]:
    """One row for each measure that any site has."""
    found = [["", "unit", *trial]]
    for measure in MEASURES:
        columns = [column(series, measure.name) for series in trial.values()]
        if any(columns):
            found.append([measure.title, measure.unit, *map(cell, columns)])
    return found


def count_rows(trial: Trial) -> list[list[str]]:
    """What happened how often, all rounds together."""
    told = [[title, *(f"{series.seen.counts[name]:,}" for series in trial.values())] for name, title in COUNTS.items()]
    return [["all rounds", *trial], *told]


def faults(trial: Trial) -> list[str]:
    """Every fault that is known in words, and what could not be measured."""
    found = [f"{name}: {fault}" for name, series in trial.items() for fault in series.seen.faults]
    return found + [f"{name}, broken off: {series.failure}" for name, series in trial.items() if series.failure]


def whole(trial: Trial) -> bool:
    """Whether nothing failed and nothing was lost."""
    counts = [series.seen.counts for series in trial.values()]
    return not faults(trial) and all(seen["completed"] == seen["debates"] for seen in counts)


def machine(trial: Trial, load: float) -> dict[str, Any]:
    """Where and with what it was measured."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    versions = {"Python": platform.python_version()}
    for name in trial:
        if name in VERSIONS:
            said = subprocess.run(VERSIONS[name], capture_output=True, text=True, timeout=10, check=False)
            number_in = re.search(r"\d+\.[\w.+-]+", said.stdout or said.stderr)
            versions[name] = number_in[0] if number_in else "of unknown version"
    here = {"processor": model, "cores": os.cpu_count(), "kernel": platform.release(), "versions": versions}
    return here | {"load_average_before": round(load, 1), "load_average_after": round(os.getloadavg()[0], 1)}


def pooled(values: list[float]) -> list[float]:
    """The latencies at each of curves.PARTS."""
    return [round(quantile(values, part), 2) for part in curves.PARTS.values()] if values else []


def as_json(trial: Trial, plan: Plan, load: float) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "machine": machine(trial, load),
        "plan": dataclasses.asdict(plan),
        "measures": {measure.name: {"title": measure.title, "unit": measure.unit} for measure in MEASURES},
        "sites": {
            name: {
                "rounds": series.values,
                "counts": {name: series.seen.counts[name] for name in COUNTS},
                "latencies_ms": {"api": pooled(series.seen.api), "delivered": pooled(series.seen.delivered)},
                "faults": series.seen.faults,
                "failure": series.failure or None,
            }
            for name, series in trial.items()
        },
        "latencies_at": list(curves.PARTS),
    }


def page(facts: Mapping[str, Any], trial: Trial, plan: Plan) -> str:
    """The Markdown page."""
    where = facts["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    full = [
        f"{name}, {measure.title}"
        for name, series in trial.items()
        for measure in MEASURES
        if measure.name.endswith("driver_share") and max(column(series, measure.name), default=0) > FULL
    ]
    measured = (
        f"{where['processor']}, {where['cores']} cores, Linux {where['kernel']}; {versions}. {plan.rounds} rounds, the "
        f"fronts in turn; in each {plan.users} users for {plan.seconds:g} s, then twice {plan.debates} debates of two "
        f"agents and {plan.argued} rounds, {plan.answer:g} s an answer, with {plan.watchers} WebSockets. "
        f"Load average before: {where['load_average_before']:.1f}, after: {where['load_average_after']:.1f}, this load "
        "included. Medians, the span of the rounds in brackets."
    )
    lines = [
        "# The service under load, behind each front",
        "Written by `scripts/loadtest`; [how it is measured](../SCALING.md#how-it-was-measured).",
        measured,
        "![Requests, processor time and memory](chart.svg)",
        "![Latencies from the middle to the worst](latencies.svg)",
        markdown(rows(trial)),
        markdown(count_rows(trial)),
    ]
    lines += [f"The load generator itself was the limit: {'; '.join(full)}."] if full else []
    lines += ["Faults:\n\n" + "\n".join(f"- {fault}" for fault in faults(trial))] if faults(trial) else []
    return "\n\n".join(lines) + "\n"


def save(folder: Path, trial: Trial, plan: Plan, load: float) -> None:
    """Write results.json, results.md, chart.svg and latencies.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = as_json(trial, plan, load)
    groups = []
    for measure in MEASURES:
        columns = {name: column(series, measure.name) for name, series in trial.items()}
        values = {name: statistics.median(found) for name, found in columns.items() if found}
        if measure.drawn and values:
            groups.append(Group(measure.title, measure.unit, values))
    panels = {
        "API call": {name: pooled(series.seen.api) for name, series in trial.items() if series.seen.api},
        "event, stored to seen": {
            name: pooled(series.seen.delivered) for name, series in trial.items() if series.seen.delivered
        },
    }
    (folder / "results.json").write_text(json.dumps(facts, indent=1) + "\n")
    (folder / "results.md").write_text(page(facts, trial, plan))
    (folder / "chart.svg").write_text(bars(TITLE, colours(trial), groups))
    (folder / "latencies.svg").write_text(curves.svg("Latencies behind each front", colours(trial), panels))
