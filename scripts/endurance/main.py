"""The command line of the soak."""

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmark.measure import BenchError
from benchmark.report import plain

from endurance import report, verdict
from endurance.ledger import Ledger
from endurance.report import Soak
from endurance.samples import Record, held
from endurance.site import Site
from endurance.traffic import Event, Traffic

RELOAD_SECONDS, RESTART_SECONDS = 60.0, 45.0
SAMPLE_SECONDS = 1.0
REST_SECONDS = 75.0
"""Longest wait, once all clients have left, until the gateway has closed what they used: over its `write_timeout`."""


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="HTTP/1.1, HTTP/2, WebSockets, uploads, slow and rude clients, a reload every minute, peers that "
        "restart: for as long as you like. Says whether memory or descriptors grow, and explains every failure. "
        "Exit status: 0 clean, 1 not clean, 2 could not run.",
    )
    parser.add_argument("--minutes", type=float, required=True, metavar="N", help="how long the traffic lasts")
    parser.add_argument("--rate", type=float, default=40.0, metavar="R", help="visits a second (default 40)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="workers of the gateway (default 2)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where soak.md and soak.svg go (default: nowhere)")
    options = parser.parse_args(words)
    for name, least in (("minutes", 0.05), ("rate", 1), ("workers", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} {getattr(options, name):g}: must be {least:g} at least")
    return options


async def sample(
    site: Site, ledger: Ledger, record: Record, counts: list[tuple[float, int, int]], ended: asyncio.Event
) -> None:
    """Take samples until the traffic has ended, saying every minute how far it is."""
    minutes = 0
    while not ended.is_set():
        record.take(site.processes())
        at = time.monotonic() - ledger.started
        counts.append((at, ledger.begun.total(), ledger.failed))
        if at >= 60 * (minutes + 1):
            minutes = int(at / 60)
            memory = ", ".join(f"{name} {moments[-1].memory:.1f} MiB" for name, moments in record.moments.items())
            text = f"[{minutes} min] {ledger.begun.total():,} sent, {ledger.failed} unexplained failures; {memory}"
            print(text, file=sys.stderr, flush=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), SAMPLE_SECONDS)


async def rest(site: Site, before: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    """Wait until no process holds more descriptors than before the traffic, or for long enough. What they hold then."""
    deadline = time.monotonic() + REST_SECONDS
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        after = held(site.processes())
        if time.monotonic() > deadline or not any(verdict.surplus(before, after).values()):
            return after


async def soak(options: argparse.Namespace, site: Site) -> Soak:
    """Run the traffic and judge. BenchError when the site cannot be run."""
    await asyncio.to_thread(site.open)
    await asyncio.sleep(SAMPLE_SECONDS)
    record, ledger = Record(), Ledger()
    record.take(site.processes())
    before, counts = held(site.processes()), list[tuple[float, int, int]]()
    stop, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    sampling = asyncio.create_task(sample(site, ledger, record, counts, ended))
    events = [
        Event(RELOAD_SECONDS, lambda _: site.reload()),
        Event(RESTART_SECONDS, lambda number: site.restart(number, ledger)),
    ]
    await Traffic(site, ledger, options.minutes * 60, options.rate, events).run(stop)
    seconds = time.monotonic() - ledger.started
    ended.set()
    await sampling
    growth = verdict.growth(record, seconds)
    after = await rest(site, before)
    record.take(site.processes())
    code = await asyncio.to_thread(site.close)
    findings = [*verdict.accounts(ledger), *growth, *verdict.processes(record, before, after, site.log(), code)]
    return Soak(
        options.minutes,
        seconds,
        options.rate,
        options.workers,
        site.reloads,
        ledger,
        record,
        counts,
        findings,
        site.log(),
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run and report. 0 if it was clean, 1 if not, 2 if it could not be run."""
    options = arguments(words)
    if not sys.platform.startswith("linux"):
        print("scripts/soak reads /proc: it needs Linux", file=sys.stderr)
        return 2
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        site = Site(Path(folder), options.workers)
        try:
            done = asyncio.run(soak(options, site))
        except* BenchError as errors:
            for error in errors.exceptions:
                print(f"scripts/soak: {error}", file=sys.stderr)
            done = None
        finally:
            site.close()
    if done is None:
        return 2
    print(plain(report.account_rows(done.ledger)), end="\n\n")
    print(plain(report.verdict_rows(done)))
    for line in done.ledger.details:
        print(f"unexplained: {line}")
    if options.out is not None:
        report.save(options.out, done, load)
        print(f"\nwritten: {options.out}/soak.md, soak.svg")
    return 0 if done.clean else 1
