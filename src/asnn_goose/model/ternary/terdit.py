"""TerDiT (Lu et al., arXiv 2405.14854): codes around the mean magnitude, their scale learned."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.ternary.method import (
    TernaryMethod,
    learned_scale,
    straight_through,
    wide,
    with_row_scales,
)
from asnn_goose.ops.ternary import SMALLEST_SCALE, Ternary, sharing

_EPSILON = 1e-6


class TerDiT(TernaryMethod):
    """alpha clip(round(W / (mean |W| + 1e-6)), -1, 1) with alpha learned.

    The rounding is straight-through, so that W takes alpha g, and alpha the sum of g times the
    codes. It counts as at least 1e-6. `granularity` is "row", or "tensor" as published: what
    shares alpha and the mean. A normalisation right after the product makes alpha irrelevant.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        planes: int = 1,
        group: int = 0,
        granularity: str = "row",
    ) -> None:
        super().__init__(rows, columns, planes=planes, group=group)
        self.granularity = granularity
        self.alpha_R1 = learned_scale(rows, granularity)

    @torch.no_grad()
    def start_(self, weight_OK: Tensor) -> None:
        """Start alpha at the mean |W| of what is not rounded to zero."""
        weight_RN = sharing(wide(weight_OK), self.granularity)
        codes_RN = self._codes(weight_OK).view(weight_RN.shape)
        count_R1 = codes_RN.abs().sum(-1, keepdim=True).clamp_min(1)
        alpha_R1 = (weight_RN * codes_RN).sum(-1, keepdim=True) / count_R1
        self.alpha_R1.copy_(alpha_R1.clamp_min(SMALLEST_SCALE))

    def forward(self, weight_OK: Tensor) -> Tensor:
        codes_OK = straight_through(wide(weight_OK), self._codes)
        return (codes_OK * self._alpha(weight_OK)).to(weight_OK.dtype)

    def planes_of(self, weight_OK: Tensor) -> Ternary:
        return with_row_scales(self._codes(weight_OK).unsqueeze(0), self._alpha(weight_OK))

    def _alpha(self, weight_OK: Tensor) -> Tensor:
        # Below the floor alpha keeps its gradient, or it would never come up again.
        alpha_R1 = wide(self.alpha_R1, weight_OK)
        return straight_through(alpha_R1, lambda x_R1: x_R1.clamp_min(SMALLEST_SCALE))

    @torch.no_grad()
    def _codes(self, weight_OK: Tensor) -> Tensor:
        weight_RN = sharing(wide(weight_OK), self.granularity)
        mean_R1 = weight_RN.abs().mean(-1, keepdim=True)
        codes_RN = (weight_RN / (mean_R1 + _EPSILON)).round().clamp(-1, 1)
        return codes_RN.view(weight_OK.shape)
