"""Blockwise Hadamard transform: spreads outliers over 64 neighbours before they are coded."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from asnn_goose.ops.native_build import native_available

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


def rotated(x_BK: Tensor) -> Tensor:
    """`hadamard` in fp32 at least, then in x's dtype again; with a gradient.

    Training, evaluation and the engine all take this one, so that they code the same integers.
    """
    wide_BK = x_BK.to(torch.promote_types(x_BK.dtype, torch.float32))
    turned_BK = cast(Tensor, _Rotation.apply(wide_BK))  # type: ignore[no-untyped-call]
    return turned_BK.to(x_BK.dtype)


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BK: Tensor) -> Tensor:
        return _turned(x_BK)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return rotated(gradients[0])  # it is its own transpose


def _turned(x_BK: Tensor) -> Tensor:
    compiled = x_BK.dtype == torch.float32 and x_BK.device.type == "cpu" and native_available()
    if not compiled or x_BK.shape[-1] % BLOCK or not x_BK.numel():
        return hadamard(x_BK)
    from asnn_goose import _native

    x_BK = x_BK.contiguous()
    out_BK = torch.empty_like(x_BK)
    columns = x_BK.shape[-1]
    _native.rotate(
        sizes=(x_BK.numel() // columns, columns),
        x=x_BK.data_ptr(),
        out=out_BK.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return out_BK
