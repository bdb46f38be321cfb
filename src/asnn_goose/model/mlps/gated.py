"""The gated MLP of the Llama family."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.activations import ACT2FN

from asnn_goose.model.parts.config import GooseConfig
from asnn_goose.model.parts.precision import resolve
from asnn_goose.model.parts.projection import Projection


class GatedMLP(nn.Module):
    """down(act(gate x) * up x) (Shazeer 2020, arXiv 2002.05202).

    `layer` is the block's index, on which the precision of its matrices may depend.
    """

    def __init__(self, config: GooseConfig, *, layer: int) -> None:
        super().__init__()

        def matrix(name: str, columns: int, rows: int) -> Projection:
            precision = resolve(config.precision, name, layer=layer)
            return Projection(columns, rows, bias=config.mlp_bias, precision=precision)

        width, inner = config.hidden_size, config.intermediate_size
        self.gate, self.up = matrix("gate", width, inner), matrix("up", width, inner)
        self.down = matrix("down", inner, width)
        self.activation = ACT2FN[config.hidden_act]

    def forward(
        self, x_BTD: Tensor, last_BD: Tensor | None, documents_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(B,T,D) -> (B,T,D); carries no state."""
        return self.down(self.activation(self.gate(x_BTD)) * self.up(x_BTD)), None

    def matrices(self) -> tuple[Projection, ...]:
        """Its matrices in order; the last one writes to the residual stream."""
        return self.gate, self.up, self.down
