"""The MLP of SpikeBERT."""

from __future__ import annotations

from torch import Tensor, nn

from asnn_goose.model.mlps.mlp import MLP, MLPOutput
from asnn_goose.model.neurons.lif import inner_lif
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import State
from asnn_goose.shape.mlps import MLPS
from asnn_goose.trace import Window


class SpikingMLP(MLP):
    """LIF(LN(down(LIF(LN(up x))))) along the inner steps of every token (arXiv 2308.15122)."""

    shape = MLPS["spiking"]
    up: Projection
    down: Projection

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        width, inner = config.hidden_size, config.intermediate_size
        self.up_norm, self.down_norm = nn.LayerNorm(inner), nn.LayerNorm(width)
        steps = config.inner_steps
        self.up_spikes = inner_lif(inner, steps=steps)
        self.down_spikes = inner_lif(width, steps=steps)

    def forward(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        """(B*S,T,D) -> (B*S,T,D), 0 and 1; carries nothing: membranes rest before every token."""
        up_BTF = self.up_norm(self.up(x_BTD, membranes))
        up_BTF, _ = self.up_spikes.forward_with_state(up_BTF, None, window)
        down_BTD = self.down_norm(self.down(up_BTF, membranes))
        return MLPOutput(self.down_spikes.forward_with_state(down_BTD, None, window)[0], {})

    def start_matrices(self) -> None:
        """As PyTorch starts linear layers."""
        self.up.reset_parameters()
        self.down.reset_parameters()
