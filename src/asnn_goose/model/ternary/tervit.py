"""TerViT (Xu et al., arXiv 2201.08050): 8 bits first, then ternary, row by row."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.model.ternary.method import TernaryMethod, straight_through, wide
from asnn_goose.model.ternary.twn import check_factor
from asnn_goose.ops.ternary import Ternary, twn

_TOP = 127


class TerViT(TernaryMethod):
    """While less than `eight_bit` of a stage is done 8-bit weights, from then on those of TWN.

    Both have a scale per row, or per `group` columns of one, and a straight-through gradient.
    In eval mode the matrix is always the ternary one.
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
        eight_bit: float = 0.5,
    ) -> None:
        super().__init__(rows, columns, planes=planes, group=group)
        check_factor(factor)
        if not 0 <= eight_bit <= 1:
            raise ValueError(f"eight_bit = {eight_bit}: must be 0 to 1")
        self.factor, self.eight_bit = factor, eight_bit

    def forward(self, weight_OK: Tensor) -> Tensor:
        if self.training and self.share < self.eight_bit:
            return straight_through(weight_OK, self._eight_bits)
        return straight_through(weight_OK, lambda w_OK: self.planes_of(w_OK).dense())

    def planes_of(self, weight_OK: Tensor) -> Ternary:
        return twn(wide(weight_OK.detach()), factor=self.factor, group=self.group)

    def _eight_bits(self, weight_OK: Tensor) -> Tensor:
        """W rounded to max |W| / 127 times -127 .. 127."""
        weight_OGC = wide(weight_OK).view(self.rows, -1, self.group or self.columns)
        scale_OG1 = weight_OGC.abs().amax(-1, keepdim=True) / _TOP
        # A row of zeros has no scale, and stays zeros.
        codes_OGC = (weight_OGC / scale_OG1.masked_fill(scale_OG1 == 0, 1)).round()
        return (codes_OGC * scale_OG1).view(weight_OK.shape)
