"""Percentiles of what was measured: nearest rank, over all samples, nothing smoothed."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Percentiles of a set of durations, in milliseconds, and how many there were."""

    number: int
    p50: float
    p95: float
    p99: float
    highest: float


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The nearest-rank percentile of ascending values: the smallest one that `fraction` of them do not exceed.

    Raises ValueError for no values, or a fraction outside ]0, 1].
    """
    if not ordered:
        raise ValueError("There is no percentile of nothing.")
    if not 0 < fraction <= 1:
        raise ValueError("The fraction must be above 0 and at most 1.")
    # Rounded first: 0.95 * 100 is 95.00000000000001 in binary, and its ceiling would be one rank too high.
    return ordered[math.ceil(round(fraction * len(ordered), 9)) - 1]


def spread(seconds: Sequence[float]) -> Spread:
    """The spread of durations in seconds. Of no durations: all NaN, never 0."""
    if not seconds:
        return Spread(0, math.nan, math.nan, math.nan, math.nan)
    ordered = sorted(seconds)
    p50, p95, p99 = (percentile(ordered, fraction) * 1000 for fraction in (0.5, 0.95, 0.99))
    return Spread(len(ordered), p50, p95, p99, ordered[-1] * 1000)


def median(values: Sequence[float]) -> float:
    """The median: the mean of the middle two where their number is even. Raises ValueError for no values."""
    if not values:
        raise ValueError("There is no median of nothing.")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
