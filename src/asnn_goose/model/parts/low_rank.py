"""Low-rank adapters that make a mixer's vectors depend on the data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class LowRank(nn.Module):
    """bias + activation(x A) B, with A (D, rank) and B (rank, out).

    `bias` is left out where the paper has none; `activation` acts between the factors.
    """

    def __init__(
        self,
        *,
        width: int,
        rank: int,
        out: int,
        bias: bool,
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        # [in, out], as RWKV's released code has them.
        self.down = nn.Parameter(torch.zeros(width, rank))
        self.up = nn.Parameter(torch.zeros(rank, out))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None
        self.activation = activation

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(..., D) -> (..., out)."""
        inner = x_BTD @ self.down
        if self.activation is not None:
            inner = self.activation(inner)
        if self.bias is None:
            return inner @ self.up
        # One call that adds the bias inside the product: there are four of these a block, and their
        # outputs are as wide as the stream.
        flat = torch.addmm(self.bias, inner.flatten(0, -2), self.up)
        return flat.view(*inner.shape[:-1], -1)
