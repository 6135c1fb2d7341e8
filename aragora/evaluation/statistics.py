"""How much a handful of questions can tell.

Intervals are of 95 %: Wilson's for one share (Wilson, "Probable inference", JASA 22, 1927) and Agresti's and Min's for
the difference of two shares over the same questions ("Simple improved confidence intervals for comparing matched
proportions", Statistics in Medicine 24, 2005). The test is McNemar's, exact.
"""

import math

Z = 1.959964


def share_interval(right: int, total: int) -> tuple[float, float]:
    """Between which shares the true one lies, when `right` of `total` were."""
    if total == 0:
        return 0.0, 1.0
    share, square = right / total, Z * Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def difference_interval(better: int, worse: int, total: int) -> tuple[float, float]:
    """Of the share of questions that one method has right and another wrong, less those of the contrary."""
    one, other, every = better + 0.5, worse + 0.5, total + 2.0
    middle = (one - other) / every
    half = Z * math.sqrt(max(0.0, one + other - (one - other) ** 2 / every)) / every
    return max(-1.0, middle - half), min(1.0, middle + half)


def chance(better: int, worse: int) -> float:
    """How likely a difference at least as large is, where both methods are equally good (two-sided)."""
    discordant = better + worse
    if discordant == 0:
        return 1.0
    tail = sum(math.comb(discordant, count) for count in range(min(better, worse) + 1))
    return min(1.0, 2.0 * tail / float(2**discordant))
