"""The channel mixing of RWKV, with and without a gate."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from asnn_goose.model.mlps.mlp import MLP, MLPOutput
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import State
from asnn_goose.model.parts.token_shift import TokenShift, shift_curve, start_shares
from asnn_goose.shape.mlps import MLPS
from asnn_goose.trace import Window


class ChannelMix(MLP):
    """value(relu(key(shift x))^2), without a receptance gate (arXiv 2503.14456).

    Its state is the last input, which the next token leans on.
    """

    shape = MLPS["channel_mix"]
    consumers: ClassVar[int] = 1
    key: Projection
    value: Projection

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        width, count = config.hidden_size, self.consumers
        self.shift = TokenShift(width=width, consumers=count) if config.token_shift else None

    def forward(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        (mixed_BTD,), new = self._shifted(x_BTD, state, window)
        key_BTF = torch.relu(self.key(mixed_BTD, membranes)).square()
        return MLPOutput(self.value(key_BTF, membranes), new)

    def _shifted(
        self, x_BTD: Tensor, state: State | None, window: Window
    ) -> tuple[tuple[Tensor, ...], State]:
        """What each matrix reads, and the new state."""
        if self.shift is None:
            return (x_BTD,) * self.consumers, {}
        last_BD = None if state is None else state["shift"]
        return self.shift(x_BTD, last_BD, window), {"shift": x_BTD[:, -1]}

    def start_vectors(self, *, layer: int, layers: int) -> None:
        """The published curve of the token shift."""
        if self.shift is not None:
            mix = self.shift.mix
            mix.copy_(shift_curve(mix.shape[1], (1 - layer / layers) ** 4).unsqueeze(0))


class GatedChannelMix(ChannelMix):
    """sigmoid(receptance(shift_r x)) value(relu(key(shift_k x))^2): RWKV-4 to 6 (2305.13048)."""

    shape = MLPS["gated_channel_mix"]
    consumers = 2
    receptance: Projection

    def forward(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        (x_k, x_r), new = self._shifted(x_BTD, state, window)
        key_BTF = torch.relu(self.key(x_k, membranes)).square()
        gate_BTD = torch.sigmoid(self.receptance(x_r, membranes))
        return MLPOutput(gate_BTD * self.value(key_BTF, membranes), new)

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
