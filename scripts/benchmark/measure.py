"""What a process has cost so far: processor time to the nanosecond, and memory."""

import time
from collections.abc import Iterable
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
