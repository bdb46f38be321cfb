"""Entropy, and mutual information of spikes with a teacher's features, without the usual bias.

Counts of n samples make information out of nothing: by about (cells - rows - columns + 1) / 2n nats
(Miller 1955; Panzeri and Treves 1996, Network 7:87). That is taken off, with the cells, rows and
columns that occur counted; and the same is done with tokens shuffled, which must then give 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 8
"""Classes of equal frequency into which a feature is cut."""

COMPONENTS = 8
"""Principal components of the teacher's features that are asked."""

SHUFFLES = 8

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Information:
    """Bits that a channel's spikes tell of the teacher's components, each for itself, summed.

    bits       mean over channels; error its standard error
    shuffled   the same with tokens shuffled; shuffled_error its deviation over shuffles
    """

    bits: float
    error: float
    shuffled: float
    shuffled_error: float

    @property
    def above(self) -> bool:
        """More than chance gives: two and a half deviations above the shuffled mean."""
        return self.bits > self.shuffled + 2.5 * max(self.shuffled_error, self.error)


def entropy(counts_Q: NDArray[np.generic]) -> float:
    """Bits, from how often each value came; (values - 1) / 2n nats are added (Miller 1955)."""
    counts = np.asarray(counts_Q, np.float64)
    counts = counts[counts > 0]
    total = counts.sum()
    if not total:
        return 0.0
    p = counts / total
    return float(-(p * np.log2(p)).sum() + (len(p) - 1) / (2 * total * math.log(2)))


def shared_bits(counts_CXY: NDArray[np.int64]) -> F64:
    """Bits that rows and columns of every table of counts share, bias taken off; may be below 0."""
    total_C = counts_CXY.sum((1, 2)).astype(np.float64)
    p = counts_CXY / total_C[:, None, None]
    rows, columns = p.sum(2, keepdims=True), p.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / (rows * columns)), 0.0)
    occurring = (
        (counts_CXY > 0).sum((1, 2)) - (rows > 0).sum((1, 2)) - (columns > 0).sum((1, 2)) + 1
    )
    return np.asarray(terms.sum((1, 2)) - occurring / (2 * total_C * math.log(2)))


def classes(feature_nF: F64) -> I64:
    """Every feature cut into classes of equal frequency, (n, F) with values 0 to BINS - 1."""
    ranks_nF = feature_nF.argsort(0, kind="stable").argsort(0, kind="stable")
    return np.asarray(ranks_nF * BINS // len(feature_nF), np.int64)


def components(features_nD: F64, count: int = COMPONENTS) -> F64:
    """The first principal components (n, count) of features."""
    centred = features_nD - features_nD.mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ vectors[:, ::-1][:, :count])


def information(codes_nM: NDArray[np.integer], classes_nF: I64) -> Information:
    """What channels' codes tell of features that are cut into classes, and what chance tells."""
    x_nM = np.asarray(codes_nM, np.int64)
    x_nM = x_nM - x_nM.min(initial=0)
    per_channel = _bits(x_nM, classes_nF)
    draw = np.random.default_rng(0)
    shuffled = [
        float(_bits(x_nM, classes_nF[draw.permutation(len(classes_nF))]).mean())
        for _ in range(SHUFFLES)
    ]
    count = len(per_channel)
    return Information(
        bits=float(per_channel.mean()),
        error=float(per_channel.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan,
        shuffled=float(np.mean(shuffled)),
        shuffled_error=float(np.std(shuffled, ddof=1)),
    )


def _bits(x_nM: I64, y_nF: I64) -> F64:
    """Of every channel, its information summed over the features (M,)."""
    values, bins = int(x_nM.max()) + 1, int(y_nF.max()) + 1
    channels, total = x_nM.shape[1], np.zeros(x_nM.shape[1])
    for y_n in y_nF.T:
        cells_nM = x_nM * bins + y_n[:, None] + values * bins * np.arange(channels)
        counts = np.bincount(cells_nM.ravel(), minlength=channels * values * bins)
        total += shared_bits(counts.reshape(channels, values, bins))
    return total
