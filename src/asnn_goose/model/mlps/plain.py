"""The MLP of GPT-2."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.activations import ACT2FN

from asnn_goose.model.parts.config import GooseConfig
from asnn_goose.model.parts.precision import resolve
from asnn_goose.model.parts.projection import Projection


class PlainMLP(nn.Module):
    """down(act(up x)) (Vaswani et al. 2017, arXiv 1706.03762, with any activation).

    `layer` is the block's index, on which the precision of its matrices may depend.
    """

    def __init__(self, config: GooseConfig, *, layer: int) -> None:
        super().__init__()

        def matrix(name: str, columns: int, rows: int) -> Projection:
            precision = resolve(config.precision, name, layer=layer)
            return Projection(columns, rows, bias=config.mlp_bias, precision=precision)

        width, inner = config.hidden_size, config.intermediate_size
        self.up, self.down = matrix("up", width, inner), matrix("down", inner, width)
        self.activation = ACT2FN[config.hidden_act]

    def forward(
        self, x_BTD: Tensor, last_BD: Tensor | None, documents_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(B,T,D) -> (B,T,D); carries no state."""
        return self.down(self.activation(self.up(x_BTD))), None

    def matrices(self) -> tuple[Projection, ...]:
        """Its matrices in order; the last one writes to the residual stream."""
        return self.up, self.down
