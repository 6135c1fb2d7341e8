"""Is the machine quiet? Looked at before anything is measured: what others take of it, and how evenly it works."""

import hashlib
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

SECONDS = 2.0
REPEATS, BLOCK = 60, bytes(1 << 20)
MOST_OTHERS, MOST_STEAL, MOST_SPREAD = 0.05, 0.01, 0.10


@dataclass(frozen=True)
class Quiet:
    """Shares of all processor time that other programs, and other machines of the same host, took for some seconds; and
    how far apart equal pieces of work lie: the middle four fifths as a share of the median."""

    others: float
    steal: float
    spread: float

    @property
    def warning(self) -> str:
        """What disturbs, in one line; empty on a quiet machine."""
        found = [
            f"{name} {value:.1%} (quiet: up to {most:.0%})"
            for name, value, most in (
                ("other programs take", self.others, MOST_OTHERS),
                ("other machines of this host take (steal)", self.steal, MOST_STEAL),
                ("equal work differs by", self.spread, MOST_SPREAD),
            )
            if value > most
        ]
        return "the machine is not quiet: " + ", ".join(found) if found else ""


def listen() -> Quiet:
    """Watch for SECONDS, doing nothing; then do equal pieces of work on each core in turn."""
    before = clocks()
    time.sleep(SECONDS)
    busy, idle, steal = (now - then for now, then in zip(clocks(), before, strict=True))
    total = max(1, busy + idle + steal)
    cores = os.sched_getaffinity(0)
    try:
        spread = max(unevenness(core) for core in cores)
    finally:
        os.sched_setaffinity(0, cores)
    return Quiet(busy / total, steal / total, spread)


def clocks() -> tuple[int, int, int]:
    """Ticks of all cores since the start of the machine: busy, idle, stolen (proc(5), /proc/stat)."""
    user, nice, system, idle, wait, irq, soft, steal, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return user + nice + system + irq + soft, idle + wait, steal


def unevenness(core: int) -> float:
    """How far apart the durations of equal pieces of work lie on this core."""
    os.sched_setaffinity(0, {core})
    durations = []
    for _ in range(REPEATS):
        began = time.perf_counter_ns()
        hashlib.sha256(BLOCK).digest()
        durations.append(time.perf_counter_ns() - began)
    tenths = statistics.quantiles(durations, n=10)
    return (tenths[-1] - tenths[0]) / statistics.median(durations)
