"""Rates and percentiles from two readings of /status.json, whose counters only grow."""

from collections.abc import Sequence
from typing import Any

from proxy.observe.percentile import percentile

Reading = dict[str, Any]


def rate(before: Reading, after: Reading, *names: str) -> float:
    """Growth per second of the number under these keys; 0 if the gateway was restarted in between."""
    seconds = after["now"] - before["now"]
    grown = _number(after, names) - _number(before, names)
    return max(0.0, grown / seconds) if seconds > 0 else 0.0


def _number(reading: Reading, names: Sequence[str]) -> float:
    value: Any = reading
    for name in names:
        value = value.get(name, 0) if isinstance(value, dict) else 0
    return float(value)


def percentiles(before: Reading | None, after: Reading, shares: Sequence[float]) -> list[float | None]:
    """Seconds below which these shares of the requests between two readings stayed; None without requests."""
    bounds = after["durations"]["bounds"]
    counts = list(after["durations"]["counts"])
    if before is not None and before["requests"] <= after["requests"]:
        counts = [now - then for now, then in zip(counts, before["durations"]["counts"], strict=True)]
    return [percentile(bounds, counts, share) for share in shares]


def seconds(value: float | None) -> str:
    """A duration, to three digits: "840 µs", "12 ms", "1.5 s", "3 min"."""
    if value is None:
        return "-"
    for limit, scale, unit in ((0.001, 1e6, "µs"), (1.0, 1e3, "ms"), (100.0, 1.0, "s")):
        if value < limit:
            return f"{value * scale:.3g} {unit}"
    return (
        f"{value / 60:.0f} min"
        if value < 7200
        else f"{value / 3600:.0f} h"
        if value < 172800
        else (f"{value / 86400:.0f} d")
    )


def size(value: float) -> str:
    """Bytes, to three digits and a unit: "12.3 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
