"""Ternary planes around the mean magnitude (BitNet b1.58, arXiv 2402.17764)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from asnn_goose.ops.ternary import Ternary, absmean


class AbsMean(nn.Module):
    """The matrix that `ops.ternary.absmean` makes of a dense one, computed in fp32.

    The gradient is straight-through: that of the ternary matrix goes to the dense one unchanged.
    """

    def __init__(self, *, planes: int, group: int = 0) -> None:
        super().__init__()
        self.planes, self.group = planes, group

    def forward(self, weight_OK: Tensor) -> Tensor:
        """(O,K) -> (O,K), same dtype."""
        return cast(Tensor, _StraightThrough.apply(weight_OK, self))  # type: ignore[no-untyped-call]

    def planes_of(self, weight_OK: Tensor) -> Ternary:
        """Codes and scales themselves, without a gradient."""
        wide = torch.promote_types(weight_OK.dtype, torch.float32)
        return absmean(weight_OK.detach().to(wide), planes=self.planes, group=self.group)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight_OK: Tensor, method: AbsMean) -> Tensor:
        return method.planes_of(weight_OK).dense().to(weight_OK.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
