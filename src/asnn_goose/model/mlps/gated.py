"""The gated MLP of the Llama family."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from transformers.activations import ACT2FN

from asnn_goose.model.mlps.mlp import MLP, MLPOutput
from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import State
from asnn_goose.ops.silu_gate import silu_gate
from asnn_goose.shape.mlps import MLPS
from asnn_goose.trace import Window


class GatedMLP(MLP):
    """down(act(gate x) * up x) (Shazeer 2020, arXiv 2002.05202)."""

    shape = MLPS["gated"]
    gate: Projection
    up: Projection
    down: Projection

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        self.activation = ACT2FN[config.hidden_act]
        self.silu = config.hidden_act in ("silu", "swish")

    def forward(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> MLPOutput:
        inner_BTF = self._gated(self.gate(x_BTD, membranes), self.up(x_BTD, membranes))
        return MLPOutput(self.down(inner_BTF, membranes), {})

    def _gated(self, gate_BTF: Tensor, up_BTF: Tensor) -> Tensor:
        if self.silu:
            return silu_gate(gate_BTF, up_BTF)
        gated_BTF: Tensor = self.activation(gate_BTF) * up_BTF
        return gated_BTF

    def balance_places(self, gains: list[Tensor]) -> Iterator[BalancePlace]:
        """The rows of `up` scale what `down` reads; the norm, what gate and up read."""
        # Before the norm: what is measured there depends on the columns of these rows.
        rows = [self.up.weight] if self.up.bias is None else [self.up.weight, self.up.bias]
        yield BalancePlace(rows, [self.down], [])
        yield from super().balance_places(gains)
