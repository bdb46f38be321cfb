"""Tequila (Huang et al., arXiv 2509.23809): weights in the dead zone speak through a bias."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.ternary.method import TernaryMethod, straight_through, wide
from asnn_goose.ops.ternary import Ternary, absmean, dead_zone


class Tequila(TernaryMethod):
    """`ops.ternary.absmean`, and a bias of `strength` times every row's sum over its dead zone.

    The bias C_o = strength sum_{j in D} w_oj, with D where the code is zero, does not depend on
    the input, so that at inference it is a constant. Weights in D take, besides the straight-
    through gradient, strength times the sum over all tokens of the output's gradient. D is that
    of the weights at hand, and takes no gradient.
    """

    groups_known = True

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        planes: int = 1,
        group: int = 0,
        strength: float = 1e-3,
    ) -> None:
        super().__init__(rows, columns, planes=planes, group=group)
        if not 0 <= strength < float("inf"):
            raise ValueError(f"strength = {strength}: must be 0 or more")
        self.strength = strength

    def forward(self, weight_OK: Tensor) -> Tensor:
        return straight_through(weight_OK, lambda w_OK: self.planes_of(w_OK).dense())

    def bias(self, weight_OK: Tensor) -> Tensor | None:
        """C (O,), with a gradient; None where `strength` is 0."""
        if not self.strength:
            return None
        weight_wide_OK = wide(weight_OK)
        dead_OK = dead_zone(weight_wide_OK, group=self.group)
        # The zone is a mask of the weights at hand: no gradient can move its border.
        sum_O = torch.where(dead_OK, weight_wide_OK, 0).sum(-1)
        return (self.strength * sum_O).to(weight_OK.dtype)

    def planes_of(self, weight_OK: Tensor) -> Ternary:
        return absmean(wide(weight_OK.detach()), group=self.group)
