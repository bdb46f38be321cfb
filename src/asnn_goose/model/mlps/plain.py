"""The MLP of GPT-2."""

from __future__ import annotations

from torch import Tensor
from transformers.activations import ACT2FN

from asnn_goose.model.mlps.mlp import MLP, MLPOutput
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import State
from asnn_goose.shape.mlps import MLPS
from asnn_goose.trace import Window


class PlainMLP(MLP):
    """down(act(up x)) (Vaswani et al. 2017, arXiv 1706.03762, with any activation)."""

    shape = MLPS["plain"]
    up: Projection
    down: Projection

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        self.activation = ACT2FN[config.hidden_act]

    def forward(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        return MLPOutput(self.down(self.activation(self.up(x_BTD, membranes)), membranes), {})
