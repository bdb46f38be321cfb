"""Ternary Weight Networks (Li et al., arXiv 1605.04711)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.model.ternary.method import (
    TernaryMethod,
    rounded,
    wide,
    with_row_scales,
)
from asnn_goose.ops.spike_product import Codes, codes_of
from asnn_goose.ops.ternary import Ternary, check_granularity, sharing, twn


class TWN(TernaryMethod):
    """Signs where |W| > factor mean |W|, times the mean |W| of those; straight-through gradient.

    factor       0.7 as published; 0.75 is the best for uniform weights
    granularity  "row" (or `group` columns of one), or "tensor" as published
    """

    groups_known = True

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        planes: int = 1,
        group: int = 0,
        factor: float = 0.7,
        granularity: str = "row",
    ) -> None:
        super().__init__(rows, columns, planes=planes, group=group)
        check_granularity(granularity)
        check_factor(factor)
        if group and granularity == "tensor":
            raise ValueError(f"group = {group}: must be 0 where granularity = 'tensor'")
        self.factor, self.granularity = factor, granularity

    def forward(self, weight_OK: Tensor) -> Tensor:
        return rounded(self, weight_OK)

    def codes(self, weight_OK: Tensor) -> Codes | None:
        """In compiled form, where statistics are those of a row."""
        if self.granularity != "row":
            return None
        return codes_of(weight_OK, planes=1, group=self.group, factor=self.factor)

    def planes_of(self, weight_OK: Tensor) -> Ternary:
        weight_RN = sharing(wide(weight_OK.detach()), self.granularity)
        ternary = twn(weight_RN, factor=self.factor, group=self.group)
        if self.granularity == "row":
            return ternary
        return with_row_scales(ternary.codes_POK.view(1, *weight_OK.shape), ternary.scale_PGO[0])


def check_factor(factor: float) -> None:
    """Raise ValueError where a threshold of factor mean |W| makes no sense."""
    if not 0 < factor < float("inf"):
        raise ValueError(f"factor = {factor}: must be above 0")
