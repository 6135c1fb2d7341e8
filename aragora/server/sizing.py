"""How many worker processes a machine is given."""

import os
from pathlib import Path

from aragora.settings import Settings


def cores() -> int:
    """The processors this process may use: an affinity mask and a container's quota count."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


def worker_count(settings: Settings) -> int:
    """ARAGORA_WORKERS, or by ARAGORA_WORKLOAD: `cpu` one a core, `io` 2 x cores + 1, `mixed` 2 x cores, or a number."""
    formulas = {"cpu": cores(), "io": 2 * cores() + 1, "mixed": 2 * cores()}
    workload = settings.workload
    return settings.workers or (formulas[workload] if workload in formulas else int(workload))


def loop_count(settings: Settings) -> int:
    """Workers with an event loop each: one is a core's worth of work. ARAGORA_WORKERS or a number override it."""
    workload = settings.workload
    return settings.workers or (int(workload) if workload.isdecimal() else max(2, cores()))
