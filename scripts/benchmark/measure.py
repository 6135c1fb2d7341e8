"""What a process has cost so far: processor time to the nanosecond, and memory."""

import resource
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


class BenchError(Exception):
    """Something made a measurement impossible; the message says what."""


def descendants(root: int) -> list[int]:
    """The process and everything it forked, by pid."""
    found = [root]
    for pid in found:
        for task in (PROC / str(pid) / "task").glob("*/children"):
            try:
                found.extend(int(child) for child in task.read_text().split())
            except OSError:
                continue
    return found


@dataclass(frozen=True)
class Spent:
    """What a stretch of time cost: its length, the proxy's processor time in ns and how much of that was the kernel's,
    and how busy the core of origin and load generator was (1.0 is all of it)."""

    seconds: float
    proxy_ns: int
    kernel_ns: int
    driver_share: float


class Meter:
    """Reads the clocks of proxy, origin and load generator when a stretch begins, and again when it ends."""

    def __init__(self, proxy: Sequence[int], origin: Sequence[int]) -> None:
        self._proxy, self._origin = proxy, origin
        self._ticks = processor_ticks(proxy)
        self._driver = processor_ns(origin) + own_ns()
        self._began, self._cost = time.monotonic(), processor_ns(proxy)

    def stop(self) -> Spent:
        """What the stretch has cost. BenchError if a process has ended."""
        seconds, cost = time.monotonic() - self._began, processor_ns(self._proxy) - self._cost
        driver = processor_ns(self._origin) + own_ns() - self._driver
        user, kernel = (now - then for now, then in zip(processor_ticks(self._proxy), self._ticks, strict=True))
        return Spent(seconds, cost, cost * kernel // max(1, user + kernel), driver / 1e9 / seconds)


def own_ns() -> int:
    """Processor time of this process and of its children that have ended, in ns."""
    used = [resource.getrusage(which) for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return int(sum(one.ru_utime + one.ru_stime for one in used) * 1e9)


def processor_ticks(pids: Iterable[int]) -> tuple[int, int]:
    """Clock ticks (10 ms) that these processes spent in user mode and in the kernel. Where the kernel samples and does
    not count, only their proportion over a second or more means anything."""
    user = kernel = 0
    for pid in pids:
        try:
            words = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError as error:
            raise BenchError(f"process {pid} ended while it was measured") from error
        user, kernel = user + int(words[11]), kernel + int(words[12])
    return user, kernel


def processor_ns(pids: Iterable[int]) -> int:
    """Processor time of these processes with all their threads, in ns (user and system, exact to the scheduler).

    The clock of another process: clock_getcpuclockid(3) builds its number from the pid in exactly this way.
    """
    total = 0
    for pid in pids:
        try:
            total += time.clock_gettime_ns((~pid << 3) | 2)
        except OSError as error:
            raise BenchError(f"process {pid} ended while it was measured") from error
    return total


def proportional_kib(pids: Iterable[int]) -> int:
    """Memory of these processes in KiB, pages they share counted once (PSS)."""
    total = 0
    for pid in pids:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def resident_kib(pids: Iterable[int]) -> int:
    """Resident memory in KiB, summed: pages shared by several of the processes count several times (RSS)."""
    total = 0
    for pid in pids:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total
