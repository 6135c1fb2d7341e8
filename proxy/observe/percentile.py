"""Percentiles of a histogram."""

from collections.abc import Sequence


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The bound below which a share of what was counted stayed; None if nothing was counted.

    Inside a bucket it is taken to be spread evenly; what is above the last bound counts as that bound.
    """
    total = sum(counts)
    if not total:
        return None
    wanted = share * total
    seen = 0
    low = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and seen + count >= wanted:
            return low + (bound - low) * (wanted - seen) / count
        seen += count
        low = bound
    return low
