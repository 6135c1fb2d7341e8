"""The command line of the drill."""

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmark.measure import BenchError
from benchmark.report import plain
from endurance.ledger import Ledger
from endurance.samples import anonymous_mib
from endurance.traffic import Event, Traffic

from rehearsal import report
from rehearsal.report import Drill, Sample
from rehearsal.stage import Stage

SECONDS = {
    "deployments": 40.0,
    "reloads": 60.0,
    "workers killed": 75.0,
    "upgrades": 150.0,
    "upstreams restarted or killed": 45.0,
    "log rotations": 50.0,
}
"""How long after each other the events of a kind are; in a short drill, so that each happens twice."""
SAMPLE_SECONDS = 1.0


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/drill",
        description="Mixed traffic, and all at once: deployments by command, reloads, certificates that are renewed, "
        "killed workers, upgrades of the gateway, killed upstreams, log rotation. Every failure is explained or "
        "counts. Exit status: 0 clean, 1 not clean, 2 could not run.",
    )
    parser.add_argument("--minutes", type=float, required=True, metavar="N", help="how long the traffic lasts")
    parser.add_argument("--rate", type=float, default=20.0, metavar="R", help="visits a second (default 20)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="workers of the gateway (default 2)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where drill.md and drill.svg go (default: nowhere)")
    options = parser.parse_args(words)
    for name, least in (("minutes", 0.1), ("rate", 1), ("workers", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} {getattr(options, name):g}: must be {least:g} at least")
    return options


def events(stage: Stage, ledger: Ledger, seconds: float) -> list[Event]:
    """What happens, and how often."""
    actions = {
        "deployments": lambda _: stage.deploy(ledger),
        "reloads": stage.reload_once,
        "workers killed": lambda _: stage.kill_worker(ledger),
        "upgrades": lambda _: stage.upgrade(ledger),
        "upstreams restarted or killed": lambda number: stage.restart_peers(number, ledger),
        "log rotations": stage.rotate,
    }
    return [Event(min(SECONDS[name], seconds * 0.4), act) for name, act in actions.items()]


async def sample(stage: Stage, ledger: Ledger, samples: list[Sample], ended: asyncio.Event) -> None:
    """Take samples until the traffic has ended, saying every minute how far it is."""
    minutes = said = 0
    while not ended.is_set():
        for line in ledger.details[said:]:
            print(f"unexplained: {line}", file=sys.stderr, flush=True)
        said = len(ledger.details)
        memory = 0.0
        for pid in stage.processes():
            with contextlib.suppress(OSError):  # it has just ended
                memory += anonymous_mib(pid)
        at = time.monotonic() - ledger.started
        samples.append(Sample(at, ledger.begun.total(), ledger.explained.total(), ledger.failed, memory))
        if at >= 60 * (minutes + 1):
            minutes = int(at / 60)
            text = f"[{minutes} min] {ledger.begun.total():,} sent, {ledger.failed} unexplained failures"
            print(f"{text}, {stage.renewals} renewals", file=sys.stderr, flush=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), SAMPLE_SECONDS)


async def drill(options: argparse.Namespace, stage: Stage) -> Drill:
    """Run the traffic and the events, and judge. BenchError when the stage cannot be run."""
    await asyncio.to_thread(stage.open)
    ledger, samples, seconds = Ledger(), list[Sample](), options.minutes * 60
    stage.moments = {name: [] for name in SECONDS}
    stop, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    sampling = asyncio.create_task(sample(stage, ledger, samples, ended))
    await Traffic(stage, ledger, seconds, options.rate, events(stage, ledger, seconds)).run(stop)
    ended.set()
    await sampling
    lasted = time.monotonic() - ledger.started
    renewals = stage.renewals
    code = await asyncio.to_thread(stage.close)
    moments = {name: [at - ledger.started for at in found] for name, found in stage.moments.items()}
    return Drill(
        options.minutes,
        lasted,
        options.rate,
        options.workers,
        ledger,
        samples,
        moments,
        renewals,
        stage.faults,
        stage.log(),
        sum(file.read_bytes().count(b"\n") for file in stage.folder.glob("access.log*")),
        code,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run and report. 0 if it was clean, 1 if not, 2 if it could not be run."""
    options = arguments(words)
    if not sys.platform.startswith("linux"):
        print("scripts/drill reads /proc: it needs Linux", file=sys.stderr)
        return 2
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        stage = Stage(Path(folder), options.workers)
        try:
            done = asyncio.run(drill(options, stage))
        except* (BenchError, OSError) as errors:
            for error in errors.exceptions:
                print(f"scripts/drill: {error}", file=sys.stderr)
            done = None
        finally:
            stage.close()
    if done is None:
        return 2
    print(plain(report.cause_rows(done)), end="\n\n")
    print(plain(report.verdict_rows(done)))
    for line in (*done.ledger.details, *done.faults):
        print(f"unexplained: {line}")
    if options.out is not None:
        report.save(options.out, done, load)
        print(f"\nwritten: {options.out}/drill.md, drill.svg")
    return 0 if done.clean else 1
