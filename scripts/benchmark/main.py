"""The command line of the benchmark."""

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmark import chart, current, quiet, report
from benchmark.measure import BenchError
from benchmark.peers import BUILT, ROOT, known, usual
from benchmark.process import end_the_rest
from benchmark.rounds import Memory, Plan, Results, idle, loaded
from benchmark.scenarios import BARE, COMPILED, LAB_POOL, SCENARIOS, Scenario

NEEDED_FILES = 16_000
RATE = 4000.0
"""Requests a second at a fixed rate: what all peers can do on one core."""
TITLE = "Processor time and memory of one proxy process (shorter is better)"


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="What the gateway costs in processor time and memory, pure and compiled, beside every peer found. "
        "Exit status: 0 every bar met, 1 one missed, 2 nothing could be measured.",
    )
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument("--scenario", action="append", metavar="NAME", help=f"only this one (repeatable): {names}")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per scenario (default 5)")
    parser.add_argument("--seconds", type=float, metavar="S", help="seconds per round (default 2)")
    parser.add_argument(
        "--peers", metavar="A,B",
        help=f"only these of {', '.join(known(BUILT))} (default: the distribution's that are installed, the gateway "
        "compiled if scripts/compile has built it, and bare where a bar names it)",
    )  # fmt: skip
    parser.add_argument(
        "--current", action="store_true",
        help=f"beside them today's releases from the Python index ({', '.join(current.RELEASES)}); what is missing of "
        f"them is installed into {current.folder()}, some 80 MB",
    )  # fmt: skip
    parser.add_argument(
        "--compiled",
        type=Path,
        default=BUILT,
        metavar="DIR",
        help="where the compiled form is (default build/compiled)",
    )
    parser.add_argument(
        "--rate", type=float, default=RATE, metavar="R",
        help=f"requests a second of the scenarios at a fixed rate (default {RATE:g})",
    )  # fmt: skip
    parser.add_argument(
        "--fields", choices=("connection", "request"), default="connection",
        help="request fields vary between connections or from request to request",
    )  # fmt: skip
    parser.add_argument(
        "--pool", type=int, default=LAB_POOL, metavar="N",
        help=f"idle upstream connections each proxy may keep where the scenario does not say (default {LAB_POOL})",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true",
        help="fewer, shorter rounds and only the peers that bars name: a rough answer in some three minutes",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="where results.json, results.md and chart.svg go (default docs/benchmarks for a complete run)",
    )  # fmt: skip
    return parser.parse_args(words)


def choose(names: Sequence[str] | None) -> list[Scenario]:
    """The scenarios asked for, and those their bars refer to."""
    if not names:
        return list(SCENARIOS)
    known = {scenario.name: scenario for scenario in SCENARIOS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchError(f"--scenario {unknown[0]}: not one of {', '.join(known)}")
    wanted = set(names)
    for name in names:
        wanted.update(bar.of for bar in known[name].bars if bar.of in known)
    return [scenario for scenario in SCENARIOS if scenario.name in wanted]


def plan_from(options: argparse.Namespace) -> Plan:
    """How thoroughly to measure, and on which cores."""
    built = options.compiled.resolve()
    peers = options.peers.split(",") if options.peers else usual(built)
    for peer in peers:
        if peer not in known(built):
            raise BenchError(f"--peers {peer}: not one of {', '.join(known(built))}")
    if COMPILED in peers and not (built / "proxy").is_dir():
        raise BenchError(f"--compiled {built}: no compiled gateway there; scripts/compile makes one")
    added: list[str] = []
    if options.current:
        if len(current.present()) < len(current.RELEASES):
            current.install()
        added = [name for name in current.present() if name not in peers]
        peers += added
    if options.fields == "request" and not shutil.which("wrk"):
        raise BenchError("--fields request needs wrk, which is not installed")
    cores = sorted(os.sched_getaffinity(0))
    return Plan(
        rounds=options.rounds or (2 if options.quick else 5),
        seconds=options.seconds or (0.4 if options.quick else 2.0),
        warm=0.15 if options.quick else 0.5,
        idle_seconds=2.0 if options.quick else 10.0,
        fields=options.fields,
        wrk=shutil.which("wrk") is not None,
        pool=options.pool,
        rate=options.rate,
        peers=peers,
        built=built,
        driver_core=cores[0],
        proxy_core=cores[-1],
        where_named=() if options.peers else peers if options.quick else (BARE,),
        current=added,
        quiet=quiet.listen(),
    )


def raise_file_limit() -> None:
    """Thousands of connections need thousands of descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < NEEDED_FILES:
        print(f"warning: only {hard} file descriptors allowed; the largest scenarios may fail", file=sys.stderr)


def save(folder: Path, scenarios: Sequence[Scenario], results: Results, memory: Memory, plan: Plan) -> None:
    """Write results.json, results.md and chart.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = report.as_json(scenarios, results, memory, plan)
    (folder / "results.json").write_text(json.dumps(facts, indent=1, default=str) + "\n")
    (folder / "chart.svg").write_text(chart.svg(scenarios, results, plan, TITLE))
    where = facts["machine"]
    text = (
        f"{where['processor']}, {where['cores']} cores, Linux {where['kernel']}; "
        + ", ".join(f"{name}: {version}" for name, version in where["versions"].items())
        + f". {plan.rounds} rounds of {plan.seconds:g} s, fields vary per {plan.fields}, pools of {plan.pool}, "
        f"{plan.rate:,.0f} requests a second where the rate is fixed. Before: other programs {plan.quiet.others:.1%}, "
        f"steal {plan.quiet.steal:.1%}, spread of equal work {plan.quiet.spread:.1%}. "
        "Medians, the span of all rounds in brackets, and the gateway's cost (pure/compiled) over each peer's."
        "\n\n"
        + report.markdown(report.bar_rows(scenarios, results))
        + "\n\n"
        + report.markdown(report.cost_rows(scenarios, results, plan))
        + "\n\n"
        + report.markdown(report.split_rows(scenarios, results, plan))
        + "\n\n"
        + report.markdown(report.speed_rows(scenarios, results, plan))
        + "\n\nMemory of all processes after the load, PSS (RSS) in MiB: "
        + "; ".join(f"{who} {pss / 1024:.0f} ({rss / 1024:.0f})" for who, (pss, rss) in memory.items())
        + ".\n"
    )
    (folder / "results.md").write_text(text)
    print(f"\nwritten: {folder}/results.json, results.md, chart.svg")


def measure(scenarios: Sequence[Scenario], plan: Plan) -> tuple[Results, Memory]:
    """Run everything, saying how far it is."""
    began = time.monotonic()
    results: Results = {}

    def say(text: str) -> None:
        print(f"\r\033[K[{time.monotonic() - began:4.0f} s] {text}", end="", file=sys.stderr, flush=True)

    os.sched_setaffinity(0, {plan.driver_core})
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)  # workers of nginx that gave up root must reach their files
        try:
            memory = loaded(scenarios, plan, Path(folder), results, say)
            idle(scenarios, plan, Path(folder), results, say)
        finally:
            end_the_rest()
            print("\r\033[K", end="", file=sys.stderr, flush=True)
    return results, memory


def main(words: Sequence[str] | None = None) -> int:
    """Measure and report. 0 if every bar was met, 1 if one was not, 2 if nothing could be measured."""
    options = arguments(words)
    if not sys.platform.startswith("linux"):
        print("scripts/bench reads /proc and sets processor affinity: it needs Linux", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends this, the servers end with it
    try:
        plan = plan_from(options)
        scenarios = choose(options.scenario)
        raise_file_limit()
        if plan.quiet.warning:
            print(f"warning: {plan.quiet.warning}; expect wide spans", file=sys.stderr)
        if plan.driver_core == plan.proxy_core:
            print("warning: one core only; load generator and proxy disturb each other", file=sys.stderr)
        results, memory = measure(scenarios, plan)
    except BenchError as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(report.plain(report.cost_rows(scenarios, results, plan)), end="\n\n")
    print(report.plain(report.bar_rows(scenarios, results)), end="\n\n")
    print(report.plain(report.split_rows(scenarios, results, plan)), end="\n\n")
    print(report.plain(report.speed_rows(scenarios, results, plan)))
    for line in report.failures(results):
        print(f"not measured: {line}")
    complete = not (options.scenario or options.peers or options.quick)
    folder = options.out or (ROOT / "docs" / "benchmarks" if complete else None)
    if folder:
        save(folder, scenarios, results, memory, plan)
    missed = any(report.verdict(scenario, bar, results).met is False for scenario in scenarios for bar in scenario.bars)
    return 1 if missed else 0
