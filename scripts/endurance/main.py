"""The soak: mixed traffic for as long as one likes, and whether memory or descriptors grow meanwhile."""

import asyncio
import time
from collections import Counter

from endurance import verdict
from endurance.command import Command
from endurance.options import Options
from endurance.report import Report
from endurance.run import SAMPLE_SECONDS, run
from endurance.samples import held
from endurance.site import Site
from endurance.soak import Soak
from endurance.traffic import Event, Traffic

RELOAD_SECONDS, RESTART_SECONDS = 60.0, 45.0
REST_SECONDS = 75.0
"""Longest wait, once all clients have left, until the gateway has closed what they used: over its `write_timeout`."""


async def rest(site: Site, before: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    """Wait until no process holds more descriptors than before the traffic, or for long enough. What they hold then."""
    deadline = time.monotonic() + REST_SECONDS
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        after = held(site.processes())
        if time.monotonic() > deadline or not any(verdict.surplus(before, after).values()):
            return after


async def soak(options: Options, site: Site) -> Report:
    """Run the traffic and judge. BenchError when the site cannot be run."""
    await asyncio.to_thread(site.open)
    await asyncio.sleep(SAMPLE_SECONDS)
    soaked = Soak(options, site)
    record, ledger = soaked.record, soaked.ledger
    record.take(site.processes())
    before = held(site.processes())
    events = [
        Event(RELOAD_SECONDS, lambda _: site.reload()),
        Event(RESTART_SECONDS, lambda number: site.restart(number, ledger)),
    ]
    traffic = Traffic(site, ledger, options.seconds, options.rate, events)
    seconds = await run(traffic, soaked.take, soaked.progress)
    growth = verdict.growth(record, seconds)
    after = await rest(site, before)
    record.take(site.processes())
    code = await asyncio.to_thread(site.close)
    processes = verdict.processes(record, before, after, site.log(), code)
    return soaked.report(seconds, [*verdict.accounts(ledger), *growth, *processes])


COMMAND = Command(
    "soak",
    "HTTP/1.1, HTTP/2, WebSockets, uploads, slow and rude clients, a reload every minute, peers that restart: for as "
    "long as you like. Says whether memory or descriptors grow, and explains every failure.",
    least_minutes=0.05,
    rate=40.0,
    site=Site,
    run=soak,
)
