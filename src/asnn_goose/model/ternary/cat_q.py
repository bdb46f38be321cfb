"""CAT-Q (arXiv 2606.26650): shift, scale and threshold learned, codes soft before they harden."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asnn_goose.model.ternary.method import TernaryMethod, wide
from asnn_goose.ops.precision_schedule import remainder
from asnn_goose.ops.soft_codes import soft_codes
from asnn_goose.ops.ternary import SMALLEST_SCALE, Ternary, zones


class CatQ(TernaryMethod):
    """Codes of v = (W - mu - tanh(a) s) / s at a threshold of 2 sigmoid(c) / 2, times their scale.

    mu and s are the mean and the mean magnitude around it of a row, or of `group` columns of one;
    the scale is 2 sigmoid(b) times the mean magnitude of what is not coded as zero. a, b and c
    learn from 0 (the published factors), so that it begins as `absmean` of W - mu. The shift is
    for coding alone and is not added again. No gradient goes through statistics.

    until  share of the training in which the codes are soft: their ramps narrow along a cosine from
           a width of s, where they are the weights themselves cut off at s, to jumps
    """

    groups_known = True

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        planes: int = 1,
        group: int = 0,
        until: float = 0.8,
    ) -> None:
        super().__init__(rows, columns, planes=planes, group=group)
        if not 0 <= until <= 1:
            raise ValueError(f"until = {until}: must be 0 to 1")
        self.until = until
        groups = columns // (group or columns)
        self.shift_OG1 = nn.Parameter(torch.zeros(rows, groups, 1))
        self.scale_OG1 = nn.Parameter(torch.zeros(rows, groups, 1))
        self.threshold_OG1 = nn.Parameter(torch.zeros(rows, groups, 1))

    @torch.no_grad()
    def start_(self, weight_OK: Tensor) -> None:
        """Forget what was learned: it counts in units of the weights that were there."""
        for factor_OG1 in self.parameters():
            factor_OG1.zero_()

    @property
    def width(self) -> float:
        """Of a ramp, in units of s; 0 once the codes are hard, and in eval mode."""
        return remainder(self.share, until=self.until) if self.training else 0.0

    def forward(self, weight_OK: Tensor) -> Tensor:
        codes_OGC, scale_OG1 = self._coded(weight_OK, width=self.width)
        return (codes_OGC * scale_OG1).view(weight_OK.shape).to(weight_OK.dtype)

    @torch.no_grad()
    def planes_of(self, weight_OK: Tensor) -> Ternary:
        codes_OGC, scale_OG1 = self._coded(weight_OK, width=0.0)
        scale_1GO = scale_OG1.squeeze(-1).T.unsqueeze(0).contiguous()
        return Ternary(codes_OGC.view(1, *weight_OK.shape), scale_1GO)

    def _coded(self, weight_OK: Tensor, *, width: float) -> tuple[Tensor, Tensor]:
        """Codes (O,G,C) and scales (O,G,1), with their gradients."""
        weight_OGC = wide(weight_OK).view(self.rows, -1, self.group or self.columns)
        shift, scale, threshold = (
            wide(x, weight_OK) for x in (self.shift_OG1, self.scale_OG1, self.threshold_OG1)
        )
        theta_OG1 = threshold.sigmoid()
        with torch.no_grad():
            mean_OG1 = weight_OGC.mean(-1, keepdim=True)
            size_OG1 = (weight_OGC - mean_OG1).abs().mean(-1, keepdim=True)
            size_OG1 = size_OG1.clamp_min(SMALLEST_SCALE)
        v_OGC = (weight_OGC - mean_OG1) / size_OG1 - shift.tanh()
        codes_OGC = soft_codes(v_OGC, theta_OG1, width=width)
        with torch.no_grad():
            hard_OGC = zones(v_OGC, theta_OG1)
            count_OG1 = hard_OGC.abs().sum(-1, keepdim=True).clamp_min(1)
            kept_OG1 = (hard_OGC * v_OGC).sum(-1, keepdim=True) / count_OG1 * size_OG1
        return codes_OGC, 2 * scale.sigmoid() * kept_OG1
