"""RWKV-7's channel mixing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asnn_goose.model.parts.config import GooseConfig
from asnn_goose.model.parts.precision import resolve
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.token_shift import TokenShift


class ChannelMix(nn.Module):
    """value(relu(key(shift x))^2), without a receptance gate (arXiv 2503.14456).

    `layer` is the block's index, on which the precision of its matrices may depend.
    """

    def __init__(self, config: GooseConfig, *, layer: int) -> None:
        super().__init__()

        def matrix(name: str, columns: int, rows: int) -> Projection:
            precision = resolve(config.precision, name, layer=layer)
            return Projection(columns, rows, bias=config.mlp_bias, precision=precision)

        width = config.hidden_size
        self.key = matrix("mlp_key", width, config.intermediate_size)
        self.value = matrix("mlp_value", config.intermediate_size, width)
        self.shift = TokenShift(width=width, consumers=1) if config.token_shift else None

    def forward(
        self, x_BTD: Tensor, last_BD: Tensor | None, documents_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(B,T,D) -> (B,T,D) and the last input, which the next token leans on."""
        mixed = x_BTD if self.shift is None else self.shift(x_BTD, last_BD, documents_BT)[0]
        return self.value(torch.relu(self.key(mixed)).square()), x_BTD[:, -1]

    def matrices(self) -> tuple[Projection, ...]:
        """Its matrices in order; the last one writes to the residual stream."""
        return self.key, self.value
