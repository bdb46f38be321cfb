"""How sure a mean loss is, and a difference of two: windows are the sample, not single tokens.

Losses of neighbouring tokens depend on each other; windows far less. The mean of a text is a ratio
of sums over its windows, and its error that of a ratio estimator (Cochran, Sampling Techniques,
1977, eq. 2.46): with residuals e_i = x_i - m n_i, the error of m = sum x / sum n is
sqrt(k / (k - 1) sum e_i^2) / sum n over k windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asnn_goose.trace import IGNORED_LABEL

F64 = NDArray[np.float64]


class Sums(NamedTuple):
    """A part of a text (all of it, where it is no mixture), with its share of the whole.

    nats_k, tokens_k  of every window: summed losses, and how many tokens they are of
    """

    share: float
    nats_k: F64
    tokens_k: F64


class Difference(NamedTuple):
    """Nats per token of one model less those of another on the same windows."""

    mean: float
    error: float


def mean_error(parts: Sequence[Sums]) -> float:
    """Standard error of the mean nats per token; nan where a part has fewer than two windows."""
    return math.hypot(*(share * _error(nats_k, tokens_k) for share, nats_k, tokens_k in parts))


def difference(one: Sequence[Sums], other: Sequence[Sums]) -> Difference:
    """Paired by window. Raises ValueError for other windows."""
    mean, errors = 0.0, list[float]()
    for (share, nats_k, tokens_k), (_, others_k, same_k) in zip(one, other, strict=True):
        if not np.array_equal(tokens_k, same_k):
            raise ValueError("two models scored different windows: no paired difference")
        mean += share * float((nats_k - others_k).sum() / tokens_k.sum())
        errors.append(share * _error(nats_k - others_k, tokens_k))
    return Difference(mean, math.hypot(*errors))


def _error(nats_k: F64, tokens_k: F64) -> float:
    count = len(nats_k)
    if count < 2:
        return math.nan
    residuals_k = nats_k - nats_k.sum() / tokens_k.sum() * tokens_k
    return math.sqrt(count / (count - 1) * float(residuals_k @ residuals_k)) / float(tokens_k.sum())


class WindowTally:
    """Keeps the sums of every window; one of `EachBatch` of `perplexity`."""

    def __init__(self) -> None:
        self._nats: list[float] = []
        self._tokens: list[int] = []

    def add(self, tokens_BT: Tensor, labels_BT: Tensor, losses_BT: Tensor) -> None:
        """Count a batch of windows."""
        self._nats += losses_BT.sum(1).tolist()
        self._tokens += (labels_BT != IGNORED_LABEL).sum(1).tolist()

    def found(self) -> Sums:
        """All that was counted."""
        return Sums(1.0, np.array(self._nats), np.array(self._tokens, np.float64))
