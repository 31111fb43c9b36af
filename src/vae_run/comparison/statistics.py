"""Means over seeds with their intervals, and differences between seeds that were paired."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

CONFIDENCE = 0.95
ALL_PAIRS = 100
"""Groups that are all compared with each other; of more, each is compared with the first."""


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
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return Estimate(n, mean, _quantile(n, comparisons) * math.sqrt(variance / n))


@lru_cache
def _quantile(n: int, comparisons: int) -> float:
    """Half the width of Student's interval of n values, in standard errors."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return float(stdtrit(n - 1, 1 - (1 - CONFIDENCE) / (2 * comparisons)))


@dataclass(frozen=True)
class Difference:
    """first - second of two groups, over the seeds that both have.

    `comparisons` is what the interval is corrected for.
    """

    first: int
    second: int
    seeds: tuple[int, ...]
    estimate: Estimate
    comparisons: int


def paired_differences(groups: Sequence[Mapping[int, float]]) -> list[Difference]:
    """The differences of all pairs of groups, each a value by seed.

    Every interval is corrected for the number of pairs that share two seeds at least: which groups
    come first was found in the same figures, so all pairs count, not only those with the best.
    That is so too where groups are more than `ALL_PAIRS`, whose differences are to the first alone.
    """
    n = len(groups)
    few = n <= ALL_PAIRS
    pairs = [(i, j) for i in range(n if few else 1) for j in range(i + 1, n)]
    shared = {
        pair: tuple(sorted(groups[pair[0]].keys() & groups[pair[1]].keys())) for pair in pairs
    }
    comparisons = sum(len(s) > 1 for s in shared.values()) if few else n * (n - 1) // 2
    return [
        Difference(
            i,
            j,
            seeds,
            estimate([groups[i][s] - groups[j][s] for s in seeds], comparisons),
            comparisons,
        )
        for (i, j), seeds in shared.items()
    ]
