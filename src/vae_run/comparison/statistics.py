"""Means over seeds with their intervals, and differences between seeds that were paired."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """The mean of n values, and half the width of its Student-t interval, NaN below two values."""

    n: int
    mean: float
    half: float

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is known and lies on one side of zero."""
        return self.low > 0 or self.high < 0


def estimate(values: Sequence[float], comparisons: int = 1) -> Estimate:
    """Mean and 95 % interval, mean +- t s / sqrt(n) with n - 1 degrees of freedom.

    With `comparisons` m, the level of one interval is 1 - 0.05 / m (Bonferroni), so that with
    probability 0.95 at least all m of them hold at once.
    """
    n = len(values)
    if n == 0:
        return Estimate(0, math.nan, math.nan)
    mean = math.fsum(values) / n
    if n < 2:
        return Estimate(n, mean, math.nan)
    from scipy.stats import t  # type: ignore[import-untyped]

    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    quantile = float(t.ppf(1 - (1 - CONFIDENCE) / (2 * comparisons), n - 1))
    return Estimate(n, mean, quantile * math.sqrt(variance / n))


@dataclass(frozen=True)
class Difference:
    """first - second of two groups, over the seeds that both have."""

    first: int
    second: int
    seeds: tuple[int, ...]
    estimate: Estimate


def paired_differences(groups: Sequence[Mapping[int, float]]) -> list[Difference]:
    """The differences of all pairs of groups, each a value by seed.

    Every interval is corrected for the number of pairs that share two seeds at least: which groups
    come first was found in the same figures, so all pairs count, not only those with the best.
    """
    pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
    shared = {
        pair: tuple(sorted(groups[pair[0]].keys() & groups[pair[1]].keys())) for pair in pairs
    }
    comparisons = sum(len(seeds) > 1 for seeds in shared.values())
    return [
        Difference(i, j, seeds, estimate([groups[i][s] - groups[j][s] for s in seeds], comparisons))
        for (i, j), seeds in shared.items()
    ]
