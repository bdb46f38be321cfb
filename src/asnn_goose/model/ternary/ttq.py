"""Trained Ternary Quantization (Zhu et al., arXiv 1612.01064)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from asnn_goose.model.ternary.method import TernaryMethod, learned_scale, wide, with_row_scales
from asnn_goose.ops.ternary import SMALLEST_SCALE, Ternary, sharing, zone_means, zones


class TTQ(TernaryMethod):
    """W_p where W > Delta, -W_n where W < -Delta, else 0, with W_p and W_n learned.

    threshold    Delta is `threshold` max |W|; no gradient goes through it
    percentile   above 0: Delta is instead the |W| that this share of the weights stays below or
                 reaches, for the largest of many weights says little about the others
    granularity  "row", or "tensor" as published: what shares Delta, W_p and W_n

    The latent weights take W_p g, g and W_n g in the three zones, W_p the sum of g over its
    zone and W_n minus that over its own. Scales count as at least 1e-6. Two scales are two
    planes with a sign each, and so `planes` is 2.
    """

    planes_known = (2,)

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        planes: int = 2,
        group: int = 0,
        threshold: float = 0.05,
        percentile: float = 0.0,
        granularity: str = "row",
    ) -> None:
        super().__init__(rows, columns, planes=planes, group=group)
        for name, value in (("threshold", threshold), ("percentile", percentile)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} = {value}: must be 0 or more and below 1")
        self.threshold, self.percentile, self.granularity = threshold, percentile, granularity
        self.positive_R1 = learned_scale(rows, granularity)
        self.negative_R1 = learned_scale(rows, granularity)

    @torch.no_grad()
    def start_(self, weight_OK: Tensor) -> None:
        """Start W_p and W_n at the mean magnitudes of what they stand for."""
        weight_RN = sharing(wide(weight_OK), self.granularity)
        positive_R1, negative_R1 = zone_means(weight_RN, zones(weight_RN, self._delta(weight_OK)))
        self.positive_R1.copy_(positive_R1)
        self.negative_R1.copy_(negative_R1)

    def forward(self, weight_OK: Tensor) -> Tensor:
        scales = (wide(x_R1, weight_OK) for x_R1 in (self.positive_R1, self.negative_R1))
        args = (wide(weight_OK), *scales, self._delta(weight_OK))
        out_OK = cast(Tensor, _TwoScales.apply(*args))  # type: ignore[no-untyped-call]
        return out_OK.to(weight_OK.dtype)

    def planes_of(self, weight_OK: Tensor) -> Ternary:
        """Codes 0 and 1 with W_p, and codes -1 and 0 with W_n."""
        codes_OK = zones(wide(weight_OK.detach()), self._delta(weight_OK))
        codes_POK = torch.stack((codes_OK.clamp_min(0), codes_OK.clamp_max(0)))
        scales = (x.clamp_min(SMALLEST_SCALE) for x in (self.positive_R1, self.negative_R1))
        return with_row_scales(codes_POK, *scales)

    @torch.no_grad()
    def _delta(self, weight_OK: Tensor) -> Tensor:
        size_RN = sharing(wide(weight_OK), self.granularity).abs()
        if not self.percentile:
            return size_RN.amax(-1, keepdim=True) * self.threshold
        # kthvalue counts from 1.
        rank = max(1, round(self.percentile * size_RN.shape[1]))
        return size_RN.kthvalue(rank, dim=-1, keepdim=True).values


class _TwoScales(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight_OK: Tensor, positive_R1: Tensor, negative_R1: Tensor, delta_R1: Tensor
    ) -> Tensor:
        codes_OK = zones(weight_OK, delta_R1)
        p_R1, n_R1 = (x.clamp_min(SMALLEST_SCALE) for x in (positive_R1, negative_R1))
        # Eight bits hold a code: what is kept until the backward pass is a quarter of W.
        ctx.save_for_backward(codes_OK.to(torch.int8), p_R1, n_R1)
        return codes_OK.clamp_min(0) * p_R1 + codes_OK.clamp_max(0) * n_R1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g_OK,), (codes_OK, p_R1, n_R1) = gradients, ctx.saved_tensors
        above_OK, below_OK = codes_OK > 0, codes_OK < 0
        dpositive_R1 = (g_OK * above_OK).sum_to_size(p_R1.shape)
        dnegative_R1 = -(g_OK * below_OK).sum_to_size(n_R1.shape)
        # As published: weights in the dead zone take the gradient unscaled, or they would never
        # leave it.
        dweight_OK = g_OK * torch.where(above_OK, p_R1, torch.where(below_OK, n_R1, 1))
        return dweight_OK, dpositive_R1, dnegative_R1, None
