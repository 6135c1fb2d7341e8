"""One run: traffic until its time is over or a signal ends it, looked at once a second."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable

from endurance.ledger import Ledger
from endurance.traffic import Traffic

SAMPLE_SECONDS = 1.0


async def run(traffic: Traffic, take: Callable[[float], None], progress: Callable[[], str]) -> float:
    """How long it lasted, in seconds. `take` is called for every sample with the seconds since the beginning; what
    `progress` adds to the number of requests is said every minute."""
    stop, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    sampling = asyncio.create_task(_sample(traffic.ledger, take, progress, ended))
    await traffic.run(stop)
    seconds = time.monotonic() - traffic.ledger.started
    ended.set()
    await sampling
    return seconds


async def _sample(
    ledger: Ledger, take: Callable[[float], None], progress: Callable[[], str], ended: asyncio.Event
) -> None:
    minutes = 0
    while not ended.is_set():
        at = time.monotonic() - ledger.started
        take(at)
        if at >= 60 * (minutes + 1):
            minutes = int(at / 60)
            text = f"[{minutes} min] {ledger.begun.total():,} sent, {ledger.failed} unexplained failures"
            print(f"{text}{progress()}", file=sys.stderr, flush=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), SAMPLE_SECONDS)
