"""Memory and descriptors of processes over time, read from /proc."""

import re
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

PROC = Path("/proc")
KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Moment:
    """One process at one moment: seconds since the beginning, anonymous resident memory in MiB (what it allocated:
    neither its program nor memory that it shares with others), open descriptors."""

    at: float
    memory: float
    descriptors: int


@dataclass
class Record:
    """All moments by the name of the process, and what ended or appeared in between."""

    started: float = field(default_factory=time.monotonic)
    moments: dict[str, list[Moment]] = field(default_factory=dict)
    members: dict[int, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)

    def take(self, processes: Mapping[int, str]) -> None:
        """One sample of each; a change of the processes themselves is written down."""
        at = time.monotonic() - self.started
        if self.members and self.members.keys() != processes.keys():
            gone = ", ".join(f"{name} ({pid})" for pid, name in self.members.items() if pid not in processes)
            new = ", ".join(f"{name} ({pid})" for pid, name in processes.items() if pid not in self.members)
            self.changes.append(f"after {at:.0f} s: {gone or 'none'} ended, {new or 'none'} appeared")
        self.members = dict(processes)
        for pid, name in processes.items():
            try:
                memory, descriptors = anonymous_mib(pid), sum(1 for _ in (PROC / str(pid) / "fd").iterdir())
            except OSError:  # it ended just now: the next sample says so
                continue
            self.moments.setdefault(name, []).append(Moment(at, memory, descriptors))


def held(processes: Mapping[int, str]) -> dict[str, Counter[str]]:
    """Descriptors of each process, by what they are: sockets, files by name ...

    Pipes are left out: the gateway keeps up to 32 of them for the long bodies to come.
    """
    counts = {}
    for pid, name in processes.items():
        kinds: Counter[str] = Counter()
        for link in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):  # closed just now
                kinds[re.sub(r":?\[?#?\d+\]?", "", str(link.readlink()))] += 1
        del kinds["pipe"]
        counts[name] = kinds
    return counts


def anonymous_mib(pid: int) -> float:
    """Memory that this process alone has allocated and that is resident. OSError when it has ended."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / KIB_PER_MIB
    raise ProcessLookupError(f"process {pid} has no memory any more")


def binned(points: list[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    """At most `count` points: medians of as many stretches of equal length in time."""
    if len(points) <= count:
        return points
    first, width = points[0][0], (points[-1][0] - points[0][0]) / count
    stretches: list[list[tuple[float, float]]] = [[] for _ in range(count)]
    for at, value in points:
        stretches[min(count - 1, int((at - first) / width))].append((at, value))
    return [(median(at for at, _ in one), median(value for _, value in one)) for one in stretches if one]
