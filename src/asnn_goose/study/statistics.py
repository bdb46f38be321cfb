"""Is a difference between two recipes more than luck? Paired comparisons over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Differences of pairs that share a seed.

    pairs  how many
    mean   of the differences
    error  standard error of the mean; nan below two pairs
    p      two-sided p-value of Student's paired t-test; nan below two pairs
    """

    pairs: int
    mean: float
    error: float
    p: float

    @property
    def half_width(self) -> float:
        """Half of the 95 % confidence interval of the mean; nan below two pairs."""
        return t_critical(self.pairs - 1) * self.error if self.pairs > 1 else math.nan


def paired(differences: Sequence[float]) -> Paired:
    """Student's paired t-test against no difference. Raises ValueError without a pair."""
    pairs = len(differences)
    if not pairs:
        raise ValueError("differences = []: a comparison needs at least one pair")
    mean = fmean(differences)
    if pairs == 1:
        return Paired(pairs=1, mean=mean, error=math.nan, p=math.nan)
    error = stdev(differences) / math.sqrt(pairs)
    if error == 0:
        return Paired(pairs=pairs, mean=mean, error=0.0, p=float(mean == 0))
    return Paired(pairs=pairs, mean=mean, error=error, p=t_two_sided(mean / error, pairs - 1))


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; nan below two values."""
    return stdev(values) if len(values) > 1 else math.nan


def t_two_sided(t: float, freedom: int) -> float:
    """P(|T| >= |t|) of Student's t with a whole number of degrees of freedom.

    The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4. Raises ValueError below one
    degree of freedom.
    """
    if freedom < 1:
        raise ValueError(f"freedom = {freedom}: must be at least 1")
    angle = math.atan(abs(t) / math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    inside = math.sin(angle) * total
    if odd:
        inside = 2 / math.pi * (angle + inside)
    return min(1.0, max(0.0, 1.0 - inside))


def t_critical(freedom: int, level: float = 0.95) -> float:
    """The t that |T| stays below with probability `level`."""
    low, high = 0.0, 1.0
    while t_two_sided(high, freedom) > 1 - level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        above = t_two_sided(middle, freedom) > 1 - level
        low, high = (middle, high) if above else (low, middle)
    return high
