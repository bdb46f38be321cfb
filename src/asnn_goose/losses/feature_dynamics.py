"""How hidden states change from layer to layer, held together by CKA.

The form of the public ASNN-Goose repository, which calls it FDD; the published FDD (losses.fdd)
compares trajectories over the vocabulary and is another method.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from asnn_goose.losses.cka import check_tokens, evenly
from asnn_goose.losses.features import counted, layer_pairs, no_cost
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.losses.layer_map import LayerMap, Rule
from asnn_goose.names import lookup
from asnn_goose.ops.hsic import SMALLEST, unbiased_cka, uncentred_cka
from asnn_goose.trace import Batch, Trace

KERNELS = {"unbiased": unbiased_cka, "uncentred": uncentred_cka}


class FeatureDynamics(TraceLoss):
    """Mean of 1 - CKA(h_j - h_i, the teacher's h_g(j) - h_g(i)) over consecutive mapped layers.

    The embedding is the first layer of both. The reference's weight is 0.001.

    layer_map  a rule or pairs of losses.layer_map
    kernel     "unbiased", or the reference's "uncentred", which is blind where features share a
               mean: it reads 0.998 for independent ones
    tokens     at most so many, evenly taken from those that count: cost and memory are its square
    """

    needs = frozenset({"hidden"})

    def __init__(
        self, *, layer_map: Rule = "uniform", kernel: str = "unbiased", tokens: int = 512
    ) -> None:
        super().__init__()
        self.alike = lookup(KERNELS, kernel, setting="kernel")
        self.layers, self.tokens = LayerMap(layer_map, embedding=True), check_tokens(tokens)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32; 0 where fewer than 4 tokens count."""
        pairs = layer_pairs(student, teacher, self.layers)
        if int(batch.mask_BT.sum()) < SMALLEST:
            return no_cost(student)
        chosen_BT = evenly(batch.mask_BT, self.tokens)
        rows = [(counted(s, chosen_BT), counted(t, chosen_BT)) for s, t in pairs]
        values = [1 - self.alike(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(rows)]
        return torch.stack(values).mean()
