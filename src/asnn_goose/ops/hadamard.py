"""Blockwise Hadamard transform: spreads outliers over 64 neighbours before they are coded."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

BLOCK = 64
"""Neighbouring columns that are transformed together."""


def hadamard(x_BK: Tensor) -> Tensor:
    """Orthonormal Hadamard transform (Sylvester order) of every block of 64 columns.

    x (..., K) with K a multiple of 64, any floating dtype; the result has the same shape and
    dtype. It is its own inverse and transpose, so that (H w) . (H x) = w . x (QuaRot,
    arXiv 2404.00456).

    The order of additions is fixed: stages of distance 1, 2, 4, 8, 16, 32, each a pair
    (a + b, a - b), then a factor of 1/8. Raises ValueError for another K.
    """
    columns = x_BK.shape[-1]
    if columns % BLOCK:
        raise ValueError(f"{columns} columns: a rotation needs a multiple of {BLOCK}")
    # A fixed order, so that the engine's transform agrees with this one bit by bit.
    h = x_BK
    for distance in (1, 2, 4, 8, 16, 32):
        a, b = h.reshape(-1, 2, distance).unbind(1)
        h = torch.stack((a + b, a - b), dim=1)
    # 1/sqrt(64) is a power of two: the factor loses no bit, wherever in the sum it stands.
    return h.reshape(x_BK.shape) * 0.125


def hadamard_product(x_BK: Tensor) -> Tensor:
    """`hadamard` as a product with the 64 x 64 matrix, (..., K) -> (..., K).

    Several times faster where gradients are taken, but it sums in no fixed order, and in bf16
    under autocast.
    """
    blocks_BGC: Tensor = x_BK.unflatten(-1, (-1, BLOCK))
    return (blocks_BGC @ _matrix(x_BK.dtype, x_BK.device)).flatten(-2)


@cache
# Kept for the process: every rotated matrix asks for it in every step.
def _matrix(dtype: torch.dtype, device: torch.device) -> Tensor:
    return hadamard(torch.eye(BLOCK, dtype=dtype, device=device))
