"""The gated MLP of the Llama family."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.activations import ACT2FN

from asnn_goose.model.goose.config import GooseConfig


class GatedMLP(nn.Module):
    """down(act(gate x) * up x) (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: GooseConfig) -> None:
        super().__init__()
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate = nn.Linear(width, inner, bias=bias)
        self.up = nn.Linear(width, inner, bias=bias)
        self.down = nn.Linear(inner, width, bias=bias)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, x_BTD: Tensor, last_BD: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B,T,D) -> (B,T,D); carries no state."""
        return self.down(self.activation(self.gate(x_BTD)) * self.up(x_BTD)), None

    def matrices(self) -> tuple[nn.Linear, ...]:
        """Its matrices in order; the last one writes to the residual stream."""
        return self.gate, self.up, self.down
