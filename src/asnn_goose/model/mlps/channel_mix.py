"""RWKV-7's channel mixing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asnn_goose.model.goose.config import GooseConfig
from asnn_goose.model.mixers.token_shift import TokenShift


class ChannelMix(nn.Module):
    """value(relu(key(shift x))^2), without a receptance gate (arXiv 2503.14456)."""

    def __init__(self, config: GooseConfig) -> None:
        super().__init__()
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.key = nn.Linear(width, inner, bias=bias)
        self.value = nn.Linear(inner, width, bias=bias)
        self.shift = TokenShift(width=width, consumers=1) if config.token_shift else None

    def forward(self, x_BTD: Tensor, last_BD: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B,T,D) -> (B,T,D) and the last input, which the next token leans on."""
        mixed = x_BTD if self.shift is None else self.shift(x_BTD, last_BD)[0]
        return self.value(torch.relu(self.key(mixed)).square()), x_BTD[:, -1]

    def matrices(self) -> tuple[nn.Linear, ...]:
        """Its matrices in order; the last one writes to the residual stream."""
        return self.key, self.value
