"""The channel mixing of RWKV, with and without a gate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asnn_goose.model.mlps.mlp import MLP, MLPOutput
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection, block_matrix
from asnn_goose.model.parts.state import State
from asnn_goose.model.parts.token_shift import TokenShift, shift_curve, start_shares
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


class GatedChannelMix(MLP):
    """sigmoid(receptance(shift_r x)) value(relu(key(shift_k x))^2): RWKV-4 to 6 (2305.13048).

    `layer` is the block's index, on which the precision of its matrices may depend. Its state is
    the last input, which the next token leans on.
    """

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        table = config.precision
        self.receptance = block_matrix(
            "mlp_receptance", width, width, bias=bias, table=table, layer=layer
        )
        self.key = block_matrix("mlp_key", width, inner, bias=bias, table=table, layer=layer)
        self.value = block_matrix("mlp_value", inner, width, bias=bias, table=table, layer=layer)
        self.shift = TokenShift(width=width, consumers=2) if config.token_shift else None

    def forward(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        """(B,T,D) -> (B,T,D)."""
        x_k, x_r, new = x_BTD, x_BTD, State()
        if self.shift is not None:
            last_BD = None if state is None else state["shift"]
            x_k, x_r = self.shift(x_BTD, last_BD, window)
            new = {"shift": x_BTD[:, -1]}
        key_BTF = torch.relu(self.key(x_k, membranes)).square()
        gate_BTD = torch.sigmoid(self.receptance(x_r, membranes))
        return MLPOutput(gate_BTD * self.value(key_BTF, membranes), new)

    @classmethod
    def columns(cls, config: StudentSettings) -> dict[str, int]:
        """mlp_receptance, mlp_key and mlp_value."""
        return SHAPES["gated_channel_mix"].columns(vars(config))

    def matrices(self) -> dict[str, Projection]:
        """mlp_receptance, mlp_key and mlp_value."""
        return {
            "mlp_receptance": self.receptance,
            "mlp_key": self.key,
            "mlp_value": self.value,
        }

    def start_matrices(self) -> None:
        """An orthogonal key, by the root of its shape where it is tall; the others 0."""
        rows, columns = self.key.weight.shape
        nn.init.orthogonal_(self.key.weight, gain=max(1.0, rows / columns) ** 0.5)
        nn.init.zeros_(self.receptance.weight)
        nn.init.zeros_(self.value.weight)

    def start_vectors(self, *, layer: int, layers: int) -> None:
        """The published curve of the token shift, the same for both."""
        if self.shift is not None:
            start_shares(self.shift.mix, "kk", layer=layer, layers=layers)
