"""RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467), in one pass where a compiled kernel can."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.ops.fused import fits
from asnn_goose.ops.kernel_calls import addresses, like


def rms_norm(x_BD: Tensor, weight_D: Tensor, *, eps: float) -> Tensor:
    """Give x weight / sqrt(mean(x^2) + eps) over the last axis, with gradients for both."""
    if fits(x_BD) and fits(weight_D):
        return cast(Tensor, _RMSNorm.apply(x_BD, weight_D, eps))  # type: ignore[no-untyped-call]
    return F.rms_norm(x_BD, weight_D.shape, weight_D, eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        from asnn_goose import _native

        x_BD, weight_D = x_BD.contiguous(), weight_D.contiguous()
        y_BD = torch.empty_like(x_BD)
        ctx.save_for_backward(x_BD, weight_D)
        ctx.eps = eps
        _native.norm(
            sizes=_sizes(x_BD),
            eps=eps,
            inputs=addresses(x_BD, weight_D),
            y=y_BD.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return y_BD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        from asnn_goose import _native

        x_BD, weight_D = ctx.saved_tensors
        dy_BD = gradients[0].contiguous()
        dx_BD, dweight_D = like(x_BD, weight_D)
        _native.norm_back(
            sizes=_sizes(x_BD),
            eps=ctx.eps,
            inputs=addresses(x_BD, weight_D, dy_BD),
            outputs=addresses(dx_BD, dweight_D),
            threads=torch.get_num_threads(),
        )
        return dx_BD, dweight_D, None


def _sizes(x_BD: Tensor) -> tuple[int, int]:
    """Tokens, columns."""
    columns = x_BD.shape[-1]
    return x_BD.numel() // columns, columns
