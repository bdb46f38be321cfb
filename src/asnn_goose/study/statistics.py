"""Is a difference between two recipes more than luck? Paired comparisons over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Differences of pairs that share a seed.

    pairs       how many
    mean        of the differences
    error       standard error of the mean; nan below two pairs
    p           two-sided p-value of Student's paired t-test; nan below two pairs
    half_width  half of the 95 % confidence interval of the mean; nan below two pairs
    """

    pairs: int
    mean: float
    error: float
    p: float
    half_width: float


def paired(differences: Sequence[float]) -> Paired:
    """Student's paired t-test against no difference. Raises ValueError without a pair."""
    pairs = len(differences)
    if not pairs:
        raise ValueError("differences = []: a comparison needs at least one pair")
    mean = fmean(differences)
    if pairs == 1:
        return Paired(pairs=1, mean=mean, error=math.nan, p=math.nan, half_width=math.nan)
    # Of differences of the same seed: what a seed does to both recipes cancels out.
    error = stdev(differences) / math.sqrt(pairs)
    student = stats.t(pairs - 1)
    # Not ttest_1samp: it warns of nearly equal differences and gives nan for equal ones, which are
    # what a change without an effect on any seed looks like.
    p = float(2 * student.sf(abs(mean) / error)) if error else float(mean == 0)
    width = float(student.ppf((1 + CONFIDENCE) / 2)) * error
    return Paired(pairs=pairs, mean=mean, error=error, p=p, half_width=width)


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; nan below two values."""
    return stdev(values) if len(values) > 1 else math.nan


def false_discovery(p: Sequence[float]) -> list[float]:
    """p-values adjusted for how many they are; one that is nan counts for nothing and stays so.

    Taking all below a level as real is wrong in at most that share of them, on average: Benjamini
    and Hochberg, Controlling the false discovery rate (1995), J. R. Stat. Soc. B 57.

    >>> false_discovery([0.01, 0.04, float("nan")])
    [0.02, 0.04, nan]
    """
    found = np.array(p, np.float64)
    known = ~np.isnan(found)
    if known.any():
        found[known] = stats.false_discovery_control(found[known])
    adjusted: list[float] = found.tolist()
    return adjusted
