"""Patient knowledge distillation (Sun et al., EMNLP 2019, arXiv 1908.09355)."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.distances import normalised
from asnn_goose.losses.features import Projector, counted, layer_pairs
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.losses.layer_map import LayerMap, Rule
from asnn_goose.trace import Batch, Trace


class PKD(TraceLoss):
    """beta times the mean over layers of MSE(h_S / |h_S|, h_T / |h_T|); the logits are other terms.

    The paper takes the first token's hidden state, a language model every token's.

    layer_map  "skip" (every k-th of the teacher's layers) or "last", both without the final one;
               "uniform" and pairs are taken too
    beta       500 in the paper's example beside (1 - alpha) CE + alpha KD with alpha = 0.7

    Where the widths differ, a linear projection is learned [not in the paper].
    """

    needs = frozenset({"hidden"})
    wants_sizes = True

    def __init__(
        self,
        *,
        layer_map: Rule = "skip",
        beta: float = 500.0,
    ) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta = {beta}: must be above 0")
        self.layers, self.beta = LayerMap(layer_map), float(beta)
        self.projection = Projector()

    def meet(self, student: Trace, teacher: Trace) -> None:
        """Bridge the widths."""
        self.projection.meet(student, teacher)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32."""
        values = []
        for student_BTD, teacher_BTD in layer_pairs(student, teacher, self.layers):
            target_nD = counted(teacher_BTD, batch.mask_BT)
            found_nD = self.projection(counted(student_BTD, batch.mask_BT), target_nD)
            values.append(normalised(found_nD, target_nD))
        return self.beta * torch.stack(values).mean()
