"""Hidden states alike up to rotation and scale: 1 - CKA (Kornblith et al. 2019, 1905.00414)."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.features import counted, layer_pairs, no_cost
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.losses.layer_map import LayerMap, Rule
from asnn_goose.ops.hsic import SMALLEST, unbiased_cka
from asnn_goose.trace import Batch, Trace


class CKA(TraceLoss):
    """Mean over pairs of layers of 1 - unbiased linear CKA over tokens; widths may differ.

    layer_map  a rule or pairs of losses.layer_map
    tokens     at most so many, evenly taken from those that count: cost and memory are its square
    """

    needs = frozenset({"hidden"})

    def __init__(self, *, layer_map: Rule = "uniform", tokens: int = 512) -> None:
        super().__init__()
        self.layers, self.tokens = LayerMap(layer_map), check_tokens(tokens)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32; 0 where fewer than 4 tokens count."""
        pairs = layer_pairs(student, teacher, self.layers)
        # Batches of the last few tokens of a text happen; they must neither stop a run nor break
        # its graph.
        if int(batch.mask_BT.sum()) < SMALLEST:
            return no_cost(student)
        chosen_BT = evenly(batch.mask_BT, self.tokens)
        values = [1 - unbiased_cka(counted(s, chosen_BT), counted(t, chosen_BT)) for s, t in pairs]
        return torch.stack(values).mean()


def check_tokens(tokens: int) -> int:
    """The value itself. Raises ValueError where an unbiased CKA cannot be had from so few."""
    if tokens < SMALLEST:
        raise ValueError(f"tokens = {tokens}: must be at least {SMALLEST}")
    return tokens


def evenly(mask_BT: Tensor, limit: int) -> Tensor:
    """The mask with at most `limit` tokens left, evenly spread over those it had."""
    places_n = mask_BT.flatten().nonzero().squeeze(1)
    n = len(places_n)
    if n <= limit:
        return mask_BT
    chosen = torch.zeros_like(mask_BT).flatten()
    # Spread, not drawn at random: the same batch gives the same value, and neighbours are alike.
    chosen[places_n[torch.arange(limit, device=places_n.device) * n // limit]] = True
    return chosen.view_as(mask_BT)
