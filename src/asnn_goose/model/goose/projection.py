"""A linear map whose weights may be ternary and whose input may be spikes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.model.goose.precision import Precision
from asnn_goose.model.neurons import MeanThreshold
from asnn_goose.model.ternary import AbsMean
from asnn_goose.ops.hadamard import hadamard


class Projection(nn.Linear):
    """y = T(W) s(H x) + bias, with T, s and H as `precision` says, or left out.

    Parameters are those of nn.Linear; `weight` stays dense and is what trains. With
    `precision.rotate` it lives in the rotated basis: W x = (W H)(H x). The default precision is
    a plain nn.Linear. Raises ValueError where the columns do not fit the precision.
    """

    def __init__(self, columns: int, rows: int, *, bias: bool, precision: Precision) -> None:
        precision.check_columns(columns)
        super().__init__(columns, rows, bias=bias)
        self.precision = precision
        self.neuron = (
            MeanThreshold(steps=precision.steps, code=precision.code, threshold=precision.threshold)
            if precision.steps
            else None
        )
        self.ternary = (
            AbsMean(planes=precision.planes, group=precision.group) if precision.planes else None
        )

    def forward(self, x_BK: Tensor) -> Tensor:
        """(..., K) -> (..., O)."""
        if self.precision.rotate:
            x_BK = rotated(x_BK)
        if self.neuron is not None:
            x_BK = self.neuron(x_BK)
        weight_OK = self.weight if self.ternary is None else self.ternary(self.weight)
        return F.linear(x_BK, weight_OK, self.bias)

    @torch.no_grad()
    def into_basis_(self) -> None:
        """Rewrite weights that were copied from a plain matrix for the basis of this one."""
        if self.precision.rotate:
            self.weight.copy_(rotated(self.weight))


def rotated(x_BK: Tensor) -> Tensor:
    """`ops.hadamard` in fp32 at least, in x's dtype again."""
    return hadamard(x_BK.to(torch.promote_types(x_BK.dtype, torch.float32))).to(x_BK.dtype)
