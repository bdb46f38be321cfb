"""The MLP of GPT-2."""

from __future__ import annotations

from torch import Tensor
from transformers.activations import ACT2FN

from asnn_goose.model.mlps.mlp import MLP, MLPOutput
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection, block_matrix
from asnn_goose.model.parts.state import State
from asnn_goose.shape.mlps import MLPS as SHAPES
from asnn_goose.trace import Window


class PlainMLP(MLP):
    """down(act(up x)) (Vaswani et al. 2017, arXiv 1706.03762, with any activation).

    `layer` is the block's index, on which the precision of its matrices may depend.
    """

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        table = config.precision
        self.up = block_matrix("up", width, inner, bias=bias, table=table, layer=layer)
        self.down = block_matrix("down", inner, width, bias=bias, table=table, layer=layer)
        self.activation = ACT2FN[config.hidden_act]

    def forward(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        """(B,T,D) -> (B,T,D); carries nothing but membranes."""
        return MLPOutput(self.down(self.activation(self.up(x_BTD, membranes)), membranes), {})

    @classmethod
    def columns(cls, config: StudentSettings) -> dict[str, int]:
        """Up and down."""
        return SHAPES["plain"].columns(vars(config))

    def matrices(self) -> dict[str, Projection]:
        """Up and down."""
        return {"up": self.up, "down": self.down}
