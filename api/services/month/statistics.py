"""Small exact statistics: intervals, comparison within strata, and what many comparisons cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

Z95 = 1.959963984540054
EXACT_BELOW = 16.0
"""Variance of a count below which its distribution is computed instead of called normal."""
SCREEN = 1.5
"""Standard deviations below which nobody needs the exact value: it cannot be a flag."""


def wilson(hits: int, cases: int) -> tuple[float, float]:
    """The 95 % score interval of a share; (0, 1) without cases."""
    if cases == 0:
        return 0.0, 1.0
    share, square = hits / cases, Z95 * Z95 / cases
    middle = (share + square / 2) / (1 + square)
    half = Z95 * math.sqrt(share * (1 - share) / cases + square / (4 * cases)) / (1 + square)
    # At the ends the bound is exactly the share; computed, it would miss by the last bits.
    return (max(0.0, middle - half) if hits else 0.0), (min(1.0, middle + half) if hits < cases else 1.0)


@dataclass(frozen=True, slots=True)
class Moments:
    """Number, sum and sum of squares of some values."""

    number: int = 0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, value: float) -> Moments:
        return Moments(self.number + 1, self.total + value, self.squares + value * value)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.number + other.number, self.total + other.total, self.squares + other.squares)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.number - other.number, self.total - other.total, self.squares - other.squares)

    @property
    def mean(self) -> float:
        return self.total / self.number if self.number else 0.0

    @property
    def spread(self) -> float:
        """Sum of squared distances from the mean."""
        return max(0.0, self.squares - self.total * self.mean)


def log_normal_mean(logs: Moments) -> tuple[float, float] | None:
    """The 95 % interval of the arithmetic mean of log-normal values, from their logarithms (Cox).

    None below two values.
    """
    if logs.number < 2:
        return None
    degrees = logs.number - 1
    variance = logs.spread / degrees
    middle = logs.mean + variance / 2
    half = _t_limit(degrees) * math.sqrt(variance / logs.number + variance * variance / (2 * degrees))
    return math.exp(middle - half), math.exp(min(middle + half, 700.0))


Table = tuple[int, int, int, int]
"""Of one stratum: hits and cases of the unit, hits and cases of whom it is compared with."""


@dataclass(frozen=True, slots=True)
class Count:
    """Hits of a unit, and how many it would have with the shares of the others in the same strata.

    ``cases`` counts only comparable ones.
    """

    cases: int
    others: int
    hits: int
    expected: float
    hits_in_all: int
    p: float


def mantel_haenszel(tables: Iterable[Table]) -> Count:
    """Whether a unit has more or fewer hits than the others within the same strata (two-sided).

    Given the margins of each stratum the hits are hypergeometric; their sum is computed exactly where
    the normal distribution would be wrong. Strata that have only one side say nothing and are left out.
    """
    used = [one for one in tables if one[1] and one[3]]
    hits = sum(one[0] for one in used)
    expected = mean = variance = 0.0
    for x, n, y, m in used:
        expected += n * y / m
        share = (x + y) / (n + m)
        mean += n * share
        variance += n * m * share * (1 - share) / (n + m - 1) if n + m > 1 else 0.0
    distance = abs(hits - mean) - 0.5
    p = 1.0
    if variance > 0 and distance > 0:
        z = distance / math.sqrt(variance)
        exact = variance < EXACT_BELOW and z > SCREEN
        p = _exact(used, hits) if exact else math.erfc(z / math.sqrt(2))
    return Count(
        cases=sum(one[1] for one in used),
        others=sum(one[3] for one in used),
        hits=hits,
        expected=expected,
        hits_in_all=sum(one[0] + one[2] for one in used),
        p=p,
    )


def _exact(tables: Sequence[Table], hits: int) -> float:
    """Two-sided probability of ``hits`` or further out: twice the smaller tail."""
    whole = np.ones(1)
    first = 0
    for x, n, y, m in tables:
        if x + y == 0:
            continue
        low, high = max(0, x + y - m), min(n, x + y)
        base = _log_choose(n + m, x + y)
        logs = [_log_choose(n, k) + _log_choose(m, x + y - k) - base for k in range(low, high + 1)]
        whole = np.convolve(whole, np.exp(logs))
        first += low
    at = hits - first
    return float(min(1.0, 2 * min(whole[: at + 1].sum(), whole[at:].sum())))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


LEANING = 4.0
"""Lists that the common variance counts for beside the own ones of a stratum."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Geometric mean of a unit ÷ that of the others within the same strata, with its 95 % interval."""

    cases: int
    others: int
    ratio: float
    low: float
    high: float
    p: float


def ratio_within(pairs: Iterable[tuple[Moments, Moments]]) -> Ratio | None:
    """Compare logarithms within strata: the common difference, by a t-test that lets variances differ.

    None when no stratum has both sides, or too few values to know the spread.
    """
    used = [(own, other) for own, other in pairs if own.number and other.number]
    cases = sum(own.number for own, _ in used)
    others = sum(other.number for _, other in used)
    degrees: float = cases + others - 2 * len(used)
    if not used or degrees < 2:
        return None
    weights = [own.number * other.number / (own.number + other.number) for own, other in used]
    spreads = [own.spread + other.spread for own, other in used]
    freedom = [own.number + other.number - 2 for own, other in used]
    pooled = sum(spreads) / degrees
    # Each stratum has its own variance, leaning on the common one by as much as that were a few lists more.
    parts = [
        weight * (spread + LEANING * pooled) / (free + LEANING)
        for weight, spread, free in zip(weights, spreads, freedom, strict=True)
    ]
    whole = sum(weights)
    differences = [own.mean - other.mean for own, other in used]
    difference = sum(w * d for w, d in zip(weights, differences, strict=True)) / whole
    error = math.sqrt(sum(parts)) / whole
    if error == 0:
        return None
    # Satterthwaite: a few strata that carry most of the variance leave few degrees of freedom.
    effective = sum(parts) ** 2 / sum(
        part * part / (free + LEANING) for part, free in zip(parts, freedom, strict=True)
    )
    degrees = min(degrees, effective)
    half = _t_limit(degrees) * error
    p = 2 * float(stdtr(degrees, -abs(difference) / error))
    low, high = math.exp(difference - half), math.exp(difference + half)
    return Ratio(cases, others, math.exp(difference), low, high, p)


def _t_limit(degrees: float) -> float:
    return float(stdtrit(degrees, 0.975))


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Of each p its q: the share of false flags among all that are at least as extreme."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    found = [1.0] * len(values)
    lowest = 1.0
    for rank in range(len(order), 0, -1):
        at = order[rank - 1]
        lowest = min(lowest, values[at] * len(order) / rank)
        found[at] = lowest
    return found
