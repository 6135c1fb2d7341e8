"""The command line of the load test."""

import argparse
import asyncio
import os
import resource
import signal
import ssl
import sys
import tempfile
import urllib.parse
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Size:
    """One number of the plan: its bounds, and what it is by default, with --quick and with --url."""

    kind: Callable[[str], float]
    least: float
    most: float
    meaning: str
    usual: float
    quick: float
    remote: float

    def read(self, text: str) -> float:
        """The number, for argparse."""
        try:
            value = self.kind(text)
        except ValueError:
            value = self.most + 1
        if not self.least <= value <= self.most:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {self.least:g} to {self.most:g}")
        return value


SIZES = {
    "rounds": Size(int, 1, 20, "interleaved rounds", 3, 1, 3),
    "seconds": Size(float, 0.5, 60, "seconds of API calls", 4, 1, 4),
    "users": Size(int, 1, 1000, "who make them", 64, 32, 8),
    "watchers": Size(int, 1, 4000, "WebSockets", 240, 24, 24),
    "debates": Size(int, 1, 500, "debates at once", 30, 6, 4),
    "argued": Size(int, 1, 10, "rounds of each debate", 2, 1, 2),
    "answer": Size(float, 0, 30, "seconds an agent takes (not with --url)", 0.4, 0.1, 0),
    "rate": Size(float, 1, 10000, "most requests a second of one address; the shipped limits are 20", RATE, RATE, RATE),
    "workers": Size(int, 0, 64, "workers of an application, 0: as shipped (not with --url)", 0, 2, 0),
}


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/loadtest",
        description="API calls, long debates and WebSocket watchers against the deployed service: behind our gateway, "
        "behind nginx and behind Caddy, side by side; or against what answers at a URL. A complete run takes some "
        "three minutes and writes its report to docs/deployment/loadtest.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--fronts", metavar="A,B", help=f"only these of {', '.join(FRONTS)} (default: all installed)")
    where.add_argument(
        "--url", help="drive this service in place of own ones, with demo agents; ARAGORA_API_TOKEN opens it"
    )  # fmt: skip
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="authorities to trust at the URL (default: as the system)"
    )
    parser.add_argument("--quick", action="store_true", help="a rough answer in some ten seconds")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the report goes, for a run that is not complete")
    sizes = parser.add_argument_group("sizes, with what they are by default / with --quick / with --url")
    for name, size in SIZES.items():
        usual = f"({size.usual:g} / {size.quick:g} / {size.remote:g})"
        sizes.add_argument(f"--{name}", type=size.read, metavar="N", help=f"{size.meaning} {usual}")
    return parser.parse_args(words)


def plan_from(options: argparse.Namespace) -> Plan:
    """How much load. BenchError when watchers would not do for the debates."""
    chosen: dict[str, Any] = {}
    for name, size in SIZES.items():
        given = getattr(options, name)
        chosen[name] = given if given is not None else size.usual
        if given is None and (options.quick or options.url):
            chosen[name] = size.quick if options.quick else size.remote
    plan = Plan(**chosen)
    if plan.watchers < plan.debates:
        raise BenchError(f"--watchers {plan.watchers}: each of {plan.debates} debates needs one")
    return plan


def site_at(url: str, ca: Path | None) -> Site:
    """The site that answers there. BenchError when it is no URL, or not ready."""
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
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
        await attempt(trial[site.name], warm(site, plan, trial[site.name]))
    for number in range(plan.rounds):
        first = number % len(sites)
        for site in [*sites[first:], *sites[:first]]:
            series = trial[site.name]
            if not series.failure:
                where = f"round {number + 1}, {site.name}"
                await attempt(series, one_round(site, plan, series, partial(step, where)))
    return trial


async def attempt(series: Series, work: Awaitable[None]) -> None:
    """Do it, or note why it cannot be done; the other sites go on."""
    try:
        await work
    except (BenchError, TimeoutError, aiohttp.ClientError, OSError) as error:
        series.failure = str(error) or "debates did not end in time"


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
    sized = any(getattr(options, name) is not None for name in SIZES)
    complete = not (options.url or options.fronts or options.quick or sized)
    folder = options.out or (ROOT / "docs" / "deployment" / "loadtest" if complete else None)
    if folder is not None:
        report.save(folder, trial, plan, load)
        print(f"\nwritten: {folder}/results.md, results.json, chart.svg, latencies.svg")
    return 0 if report.whole(trial) else 1
