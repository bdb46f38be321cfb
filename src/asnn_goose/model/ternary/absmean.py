"""Ternary planes around the mean magnitude (BitNet b1.58, arXiv 2402.17764)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.model.ternary.method import TernaryMethod, rounded, wide
from asnn_goose.ops.spike_product import Codes, codes_of
from asnn_goose.ops.ternary import Ternary, absmean


class AbsMean(TernaryMethod):
    """The matrix that `ops.ternary.absmean` makes of a dense one, computed in fp32.

    The gradient is straight-through: that of the ternary matrix goes to the dense one unchanged.
    The shape may be left out, for it is used only to check `group`.
    """

    planes_known = (1, 2)
    groups_known = True

    def __init__(self, rows: int = 0, columns: int = 0, *, planes: int = 1, group: int = 0) -> None:
        super().__init__(rows, columns, planes=planes, group=group)

    def forward(self, weight_OK: Tensor) -> Tensor:
        return rounded(self, weight_OK)

    def codes(self, weight_OK: Tensor) -> Codes | None:
        """In compiled form."""
        return codes_of(weight_OK, planes=self.planes, group=self.group, factor=0.5)

    def planes_of(self, weight_OK: Tensor) -> Ternary:
        return absmean(wide(weight_OK.detach()), planes=self.planes, group=self.group)
