"""RWKV-7's channel mixing."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.mlps.mlp import MLP, MLPOutput
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection, block_matrix
from asnn_goose.model.parts.state import State
from asnn_goose.model.parts.token_shift import TokenShift, shift_curve
from asnn_goose.shape.mlps import MLPS as SHAPES
from asnn_goose.trace import Window


class ChannelMix(MLP):
    """value(relu(key(shift x))^2), without a receptance gate (arXiv 2503.14456).

    `layer` is the block's index, on which the precision of its matrices may depend. Its state is
    the last input, which the next token leans on.
    """

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        table = config.precision
        self.key = block_matrix("mlp_key", width, inner, bias=bias, table=table, layer=layer)
        self.value = block_matrix("mlp_value", inner, width, bias=bias, table=table, layer=layer)
        self.shift = TokenShift(width=width, consumers=1) if config.token_shift else None

    def forward(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        """(B,T,D) -> (B,T,D)."""
        mixed_BTD, new = x_BTD, State()
        if self.shift is not None:
            last_BD = None if state is None else state["shift"]
            (mixed_BTD,) = self.shift(x_BTD, last_BD, window)
            new = {"shift": x_BTD[:, -1]}
        key_BTF = torch.relu(self.key(mixed_BTD, membranes)).square()
        return MLPOutput(self.value(key_BTF, membranes), new)

    @classmethod
    def columns(cls, config: StudentSettings) -> dict[str, int]:
        """mlp_key and mlp_value."""
        return SHAPES["channel_mix"].columns(vars(config))

    def matrices(self) -> dict[str, Projection]:
        """mlp_key and mlp_value."""
        return {"mlp_key": self.key, "mlp_value": self.value}

    def start_vectors(self, *, layer: int, layers: int) -> None:
        """The published curve of the token shift."""
        if self.shift is not None:
            mix = self.shift.mix
            mix.copy_(shift_curve(mix.shape[1], (1 - layer / layers) ** 4).unsqueeze(0))
