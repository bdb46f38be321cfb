"""Patient knowledge distillation (Sun et al., EMNLP 2019, arXiv 1908.09355)."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.distances import normalised
from asnn_goose.losses.features import BridgedLayers
from asnn_goose.losses.layer_map import LayerMap, Rule
from asnn_goose.trace import Batch, Trace


class PKD(BridgedLayers):
    """beta times the mean over layers of MSE(h_S / |h_S|, h_T / |h_T|); the logits are other terms.

    The paper takes the first token's hidden state, a language model every token's.

    layer_map  "skip" (every k-th of the teacher's layers) or "last", both without the final one;
               "uniform" and pairs are taken too
    beta       500 in the paper's example beside (1 - alpha) CE + alpha KD with alpha = 0.7

    Where the widths differ, a linear projection is learned [not in the paper].
    """

    def __init__(self, *, layer_map: Rule = "skip", beta: float = 500.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta = {beta}: must be above 0")
        self.layers, self.beta = LayerMap(layer_map), float(beta)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        found = self.errors(student, teacher, batch, normalised)
        return self.beta * torch.stack(found).mean()
