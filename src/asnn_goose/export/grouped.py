"""Dense weights rounded to four bits, 64 columns of a row with a scale and a zero of their own.

At equal bytes (a byte each for scale and zero, instead of an fp16 scale) that leaves out a fifth
less of a trained matrix than levels around 0 do (LOG.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asnn_goose.format.groups import ZEROES, by_group, pack_nibbles

F32 = NDArray[np.float32]

BYTE = 255
TINY = np.float32(1e-30)
"""Beside 1, the largest number of a row: nothing."""

LEVELS = 15
"""The highest code of four bits."""

SHARES = (0.75, 0.85, 0.95)
"""Of a group's range: what the sixteen levels span at first, before they are fitted."""

FITS = 2
"""Times that a line is fitted; more gain less than one part in fifty."""

ROWS = 1024
"""Rows at a time, which keeps what is held small beside a head."""


class Grouped(NamedTuple):
    """What a packed file holds of a matrix, see `format.groups`."""

    weight: NDArray[np.uint8]
    scale: F32
    groups: NDArray[np.uint8]


def grouped(weight_MK: F32) -> Grouped:
    """Round a matrix (M,K) of an even number of columns."""
    pieces = [_rows(weight_MK[m : m + ROWS]) for m in range(0, len(weight_MK), ROWS)]
    return Grouped(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))


def _rows(weight_MK: F32) -> Grouped:
    # In units of each row's largest number, whose squares neither overflow nor vanish.
    top_M = np.abs(weight_MK).max(axis=1)
    unit_M = np.where(top_M > 0, top_M, np.float32(1))
    weight_MK = (weight_MK / unit_M[:, None]).astype(np.float32, copy=False)
    w_MGC = by_group(weight_MK)
    there_GC = by_group(np.ones((1, weight_MK.shape[1]), np.float32))[0]
    step_MG1, zero_MG1 = _fitted(w_MGC, there_GC)
    scale_M, size_MG1 = _sizes(step_MG1)
    step_MG1 = np.maximum(scale_M[:, None, None] * size_MG1, TINY)
    codes_MGC = _codes(w_MGC, step_MG1, zero_MG1).astype(np.uint8)
    codes_MK = codes_MGC.reshape(len(codes_MGC), -1)[:, : weight_MK.shape[1]]
    groups = np.concatenate((size_MG1, zero_MG1 * ZEROES), axis=-1).astype(np.uint8)
    return Grouped(pack_nibbles(codes_MK), scale_M * unit_M, groups)


def _fitted(w_MGC: F32, there_GC: F32) -> tuple[F32, F32]:
    """Step and zero of each group, of the start that ends with the least squares."""
    best: tuple[F32, ...] | None = None
    for share in SHARES:
        step, zero = _start(w_MGC, share)
        for _ in range(FITS):
            step, zero = _line(w_MGC, there_GC, step, zero)
        left = w_MGC - step * (_codes(w_MGC, step, zero) - zero)
        found = ((left * left * there_GC).sum(-1, keepdims=True), step, zero)
        if best is None:
            best = found
        else:
            better = found[0] < best[0]
            best = tuple(np.where(better, new, old) for new, old in zip(found, best, strict=True))
    assert best is not None
    return best[1], best[2]


def _start(w_MGC: F32, share: float) -> tuple[F32, F32]:
    """Levels evenly over this share of a group's range, which reaches to 0."""
    low = np.minimum(w_MGC.min(-1, keepdims=True), 0)
    high = np.maximum(w_MGC.max(-1, keepdims=True), 0)
    step = np.maximum((high - low) * np.float32(share / LEVELS), TINY)
    return step, LEVELS / np.float32(2) - (low + high) / 2 / step


def _line(w_MGC: F32, there_GC: F32, step: F32, zero: F32) -> tuple[F32, F32]:
    """The line through (code, weight) with the least squares, whose zero a byte can hold."""
    u_MGC = _codes(w_MGC, step, zero)
    count = there_GC.sum(-1, keepdims=True)
    mean_u = (u_MGC * there_GC).sum(-1, keepdims=True) / count
    mean_w = (w_MGC * there_GC).sum(-1, keepdims=True) / count
    slope = _ratio(w_MGC, (u_MGC - mean_u) * there_GC, otherwise=step)
    zero = np.rint((mean_u - mean_w / slope) * ZEROES).clip(0, BYTE).astype(np.float32) / ZEROES
    # Once more for the step: through the zero as it is now.
    return _ratio(w_MGC, (u_MGC - zero) * there_GC, otherwise=step), zero


def _ratio(w_MGC: F32, u_MGC: F32, *, otherwise: F32) -> F32:
    """The factor of u that is nearest to w; what it was where u is nothing or points away."""
    along = (w_MGC * u_MGC).sum(-1, keepdims=True)
    squares = (u_MGC * u_MGC).sum(-1, keepdims=True)
    return np.where(along > TINY, along / np.maximum(squares, TINY), otherwise)


def _codes(w_MGC: F32, step: F32, zero: F32) -> F32:
    codes: F32 = np.rint(w_MGC / step + zero).clip(0, LEVELS)
    return codes


def _sizes(step_MG1: F32) -> tuple[F32, F32]:
    """A scale for each row (M,), and whole steps in units of it: 0 only where there is nothing."""
    scale_M = step_MG1.max(axis=(1, 2)) / np.float32(BYTE)
    size = np.rint(step_MG1 / np.maximum(scale_M, TINY)[:, None, None]).clip(1, BYTE)
    return scale_M, size * (step_MG1 > TINY)
