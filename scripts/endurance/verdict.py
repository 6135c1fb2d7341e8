"""What the samples and the ledger say: does anything grow, did anything fail that nothing explains?"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from endurance.ledger import Ledger
from endurance.samples import Record, binned

WARM_SHARE, MOST_WARM = 1 / 3, 600.0
"""Warm-up: this share of the run, at most so many seconds."""
BINS = 120
"""A slope is taken over the medians of so many stretches, which no single burst of traffic can bend."""
MEMORY_MIB, MEMORY_SHARE = 1.0, 0.03
"""Growth from the end of the warm-up to the end of the run that is still none: the allocator's grain (CPython asks the
system for 1 MiB at a time), or this share of what the process has."""
DESCRIPTORS, DESCRIPTOR_SHARE = 2.0, 0.1


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    seen: str
    passed: bool


def slope(points: Iterable[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of the slopes of all pairs, per second. 0 for fewer than two points."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(binned(list(points), BINS), 2) if b[0] > a[0]]
    return statistics.median(slopes) if slopes else 0.0


def warm(seconds: float) -> float:
    """How much of a run of so many seconds is warm-up."""
    return min(MOST_WARM, seconds * WARM_SHARE)


def growth(record: Record, seconds: float) -> list[Finding]:
    """Of each process: does its memory or the number of its descriptors rise after the warm-up?"""
    after, span = warm(seconds), seconds - warm(seconds)
    findings = []
    for name, moments in record.moments.items():
        steady = [moment for moment in moments if after <= moment.at <= seconds]
        if len(steady) < 2:
            findings.append(Finding(name, "too few samples after the warm-up", False))
            continue
        for title, unit, least, share, points in (
            ("memory", " MiB", MEMORY_MIB, MEMORY_SHARE, [(moment.at, moment.memory) for moment in steady]),
            ("descriptors", "", DESCRIPTORS, DESCRIPTOR_SHARE, [(moment.at, moment.descriptors) for moment in steady]),
        ):
            rise = slope(points) * span
            level = statistics.median(value for _, value in points)
            bound = max(least, share * level)
            seen = f"{level:.1f}{unit}, {rise:+.2f}{unit} in {span / 60:.1f} min (none up to {bound:.1f})"
            findings.append(Finding(f"{name}: {title}", seen, rise <= bound))
    return findings


def accounts(ledger: Ledger) -> list[Finding]:
    """Does the sum come out, and is every failure explained?"""
    sent, answered = ledger.begun.total(), ledger.answered.total()
    explained, failed = ledger.explained.total(), ledger.failed
    return [
        Finding(
            "requests",
            f"{sent:,} sent = {answered:,} responses + {explained:,} explained failures + {failed:,} unexplained"
            + (f" + {ledger.open:,} without an end" if ledger.open else ""),
            not ledger.open and sent > 0,
        ),
        Finding("unexplained failures", f"{failed:,}", not failed),
    ]


def traces(log: str) -> Finding:
    """Did anything within the gateway fail that it had not foreseen?"""
    count = log.count("Traceback (most recent call last)")
    return Finding("stack traces in the gateway's log", str(count), not count)


def surplus(before: Mapping[str, Counter[str]], after: Mapping[str, Counter[str]]) -> dict[str, Counter[str]]:
    """What each process holds more than before; nothing where the number has not risen."""
    found = {}
    for name, count in after.items():
        known = before.get(name, Counter())
        found[name] = count - known if count.total() > known.total() else Counter()
    return found


def processes(
    record: Record,
    before: Mapping[str, Counter[str]],
    after: Mapping[str, Counter[str]],
    log: str,
    code: int | None,
) -> list[Finding]:
    """Did the same processes run all the time, hold nothing when the traffic was over, and end as they should?"""
    more = surplus(before, after)
    held = ", ".join(
        f"{name} {before.get(name, Counter()).total()} before, {count.total()} after"
        + "".join(f", {number} more {kind}" for kind, number in more[name].items())
        for name, count in after.items()
    )
    return [
        Finding("processes", "; ".join(record.changes) or "the same from beginning to end", not record.changes),
        Finding("descriptors at rest", held, not any(more.values())),
        traces(log),
        Finding("exit code after TERM", str(code), code == 0),
    ]
