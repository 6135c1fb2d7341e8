"""The command line of the load test."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import ssl
import sys
import tempfile
import urllib.parse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import aiohttp
from benchmark.measure import BenchError
from benchmark.report import plain
from load_debates import provider

from trial import progress, report
from trial.phases import Advance, Plan, Series, one_round, warm
from trial.sites import FRONTS, ROOT, Site, await_ready, deployed, installed

BUSY = 0.7
"""Load average above which others disturb the figures."""
RATE = 18.0
"""Requests a second from one address: what is shipped allows 20."""


def bounded(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    """A reader of numbers within bounds, for argparse."""

    def read(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least:g} to {most:g}")
        return value

    read.__name__ = "number"  # what argparse calls it when it cannot be read
    return read


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/loadtest",
        description="API calls, long debates and WebSocket watchers against the deployed service: behind our gateway, "
        "behind nginx and behind Caddy, side by side; or against what answers at a URL. A complete run takes less than "
        "three minutes and writes its report to docs/deployment/loadtest.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--fronts", metavar="A,B", help=f"only these of {', '.join(FRONTS)} (default: all installed)")
    where.add_argument(
        "--url", help="drive this service in place of own ones, with demo agents; ARAGORA_API_TOKEN opens it"
    )  # fmt: skip
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="authorities to trust at the URL (default: the system's)"
    )
    parser.add_argument("--quick", action="store_true", help="a rough answer in some ten seconds")
    sizes = parser.add_argument_group("sizes, with what they are by default, with --quick, and with --url")
    sizes.add_argument("--rounds", type=bounded(int, 1, 20), metavar="N", help="interleaved rounds (3, 1, 3)")
    sizes.add_argument("--seconds", type=bounded(float, 0.5, 60), metavar="S", help="of API calls (4, 1, 4)")
    sizes.add_argument("--users", type=bounded(int, 1, 1000), metavar="N", help="who make them (64, 32, 8)")
    sizes.add_argument("--watchers", type=bounded(int, 1, 4000), metavar="N", help="WebSockets (240, 24, 24)")
    sizes.add_argument("--debates", type=bounded(int, 1, 500), metavar="N", help="at once (30, 6, 4)")
    sizes.add_argument("--argued", type=bounded(int, 1, 10), metavar="N", help="rounds of each debate (2, 1, 2)")
    sizes.add_argument(
        "--workers", type=bounded(int, 0, 64), metavar="N", help="of each application (0: as shipped, 2, -)"
    )
    sizes.add_argument("--answer", type=bounded(float, 0, 30), metavar="S", help="of an agent (0.4, 0.1, its own)")
    sizes.add_argument(
        "--rate", type=bounded(float, 1, 10000), metavar="N",
        help=f"most requests a second of one address ({RATE:g}): where the site limits them, stay below its limit",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the report goes, for a run that is not complete")
    return parser.parse_args(words)


def plan_from(options: argparse.Namespace) -> Plan:
    """How much load. BenchError when watchers would not do for the debates."""

    def size(name: str, usual: float, quick: float, remote: float) -> float:
        given = getattr(options, name)
        return given if given is not None else quick if options.quick else remote if options.url else usual

    plan = Plan(
        rounds=int(size("rounds", 3, 1, 3)),
        seconds=size("seconds", 4, 1, 4),
        users=int(size("users", 64, 32, 8)),
        watchers=int(size("watchers", 240, 24, 24)),
        debates=int(size("debates", 30, 6, 4)),
        argued=int(size("argued", 2, 1, 2)),
        answer=size("answer", 0.4, 0.1, 0.0),
        rate=size("rate", RATE, RATE, RATE),
        workers=int(size("workers", 0, 2, 0)),
    )
    if plan.watchers < plan.debates:
        raise BenchError(f"--watchers {plan.watchers}: each of {plan.debates} debates needs one")
    return plan


def site_at(url: str, ca: Path | None) -> Site:
    """The site that answers there. BenchError when it is no URL, or not ready."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BenchError(f"--url {url}: write http://HOST:PORT or https://HOST")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise BenchError(f"--ca {ca}: {error}") from error
    token = os.environ.get("ARAGORA_API_TOKEN", "")
    site = Site(parts.netloc, url.rstrip("/"), context, ("demo", "demo"), token)
    await_ready(site)
    return site


async def drive(sites: Sequence[Site], plan: Plan, step: Callable[[str, str, float], Advance]) -> dict[str, Series]:
    """All rounds, the sites in turn, each round beginning with another one."""
    trial = {site.name: Series() for site in sites}
    for site in sites:
        trial[site.name].seen.faults += (await warm(site, plan)).faults
    for number in range(plan.rounds):
        first = number % len(sites)
        for site in [*sites[first:], *sites[:first]]:
            series = trial[site.name]
            if series.failure:
                continue

            try:
                await one_round(site, plan, series, partial(step, f"round {number + 1}, {site.name}"))
            except (BenchError, TimeoutError, aiohttp.ClientError, OSError) as error:
                series.failure = str(error) or "debates did not end in time"
    return trial


def measure(options: argparse.Namespace, plan: Plan) -> dict[str, Series]:
    """Start what is to be driven, drive it, end it."""
    with ExitStack() as running:
        if options.url:
            sites = [site_at(options.url, options.ca)]
        else:
            fronts = options.fronts.split(",") if options.fronts else installed()
            for name in fronts:
                if name not in FRONTS:
                    raise BenchError(f"--fronts {name}: not one of {', '.join(FRONTS)}")
            folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="loadtest-")))
            folder.chmod(0o755)  # workers of nginx that gave up root must reach their files
            asked = running.enter_context(provider(plan.answer))
            sites = running.enter_context(deployed(fronts, folder, asked, plan.workers))
        step = running.enter_context(progress.shown(plan.rounds, len(sites)))
        return asyncio.run(drive(sites, plan, step))


def main(words: Sequence[str] | None = None) -> int:
    """Measure and report. 0 when nothing failed or was lost, 1 when something did, 2 when nothing could be measured."""
    options = arguments(words)
    if not options.url and not sys.platform.startswith("linux"):
        print("scripts/loadtest reads /proc: it needs Linux, or --url", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends this, the servers end with it
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"warning: the machine is busy (load {load:.1f}); expect wide spans", file=sys.stderr)
    try:
        plan = plan_from(options)
        trial = measure(options, plan)
    except BenchError as error:
        print(f"scripts/loadtest: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(plain(report.rows(trial)), end="\n\n")
    print(plain(report.count_rows(trial)))
    for line in report.faults(trial):
        print(f"fault: {line}")
    given = (options.rounds, options.seconds, options.users, options.watchers, options.debates, options.argued)
    given = (*given, options.answer, options.rate, options.workers)
    complete = not (options.url or options.fronts or options.quick or any(value is not None for value in given))
    folder = options.out or (ROOT / "docs" / "deployment" / "loadtest" if complete else None)
    if folder is not None:
        report.save(folder, trial, plan, load)
        print(f"\nwritten: {folder}/results.md, results.json, chart.svg, latencies.svg")
    return 0 if report.whole(trial) else 1
