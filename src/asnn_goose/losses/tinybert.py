"""TinyBERT's Transformer distillation (Jiao et al., EMNLP Findings 2020, arXiv 1909.10351).

Its two steps, general and task-specific, are two stages with these losses on two sets of texts;
prediction-only training after them is a third, with "kl".
"""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.distances import mse
from asnn_goose.losses.features import BridgedLayers, at_positions, documents_of
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.losses.layer_map import LayerMap, Rule
from asnn_goose.ops.attention import causal_pairs, causal_scores
from asnn_goose.trace import Batch, Trace


class TinyBERT(BridgedLayers):
    """Sum over j = 0..M of MSE(W h_j, h_g(j)): embedding and hidden states, W shared by all.

    The sum is the paper's: the term grows with depth.

    layer_map  a rule or pairs of losses.layer_map; the embedding is always added
    project    learn W even where the widths are equal, from the identity
    """

    def __init__(self, *, layer_map: Rule = "uniform", project: bool = False) -> None:
        super().__init__(project=project)
        self.layers = LayerMap(layer_map, embedding=True)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        return torch.stack(self.errors(student, teacher, batch, mse)).sum()


class TinyBERTAttention(TraceLoss):
    """Sum over blocks of the MSE between scores before the softmax, q k / sqrt(N).

    Of a recurrent student these are r k / sqrt(N), which is not all that mixes its tokens:
    "matrix_orientation" compares the whole of it. The mean is over heads and causal pairs of
    tokens that count (the paper's also over the hidden pairs, which are 0).

    layer_map   a rule or pairs of losses.layer_map; blocks count from 1
    """

    needs = frozenset({"queries", "keys"})

    def __init__(self, *, layer_map: Rule = "uniform") -> None:
        super().__init__()
        self.layers = LayerMap(layer_map)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32. ValueError where the numbers of heads differ."""
        depths = len(student.signal("queries")), len(teacher.signal("queries"))
        pairs = self.layers.pairs(*depths)
        if any(0 in pair for pair in pairs):
            raise ValueError("layer_map has the embedding, 0: attention scores begin with block 1")
        mask_BT = batch.mask_BT
        # The same pairs for both models: what one of them cannot look at is no error of the other.
        pairs_B1TT = causal_pairs(mask_BT, documents_of(student, teacher))
        used_BTT = (pairs_B1TT & mask_BT[:, None, :, None]).squeeze(1)
        values = [
            _score_error(_scores(student, j - 1), _scores(teacher, g - 1), used_BTT)
            for j, g in pairs
        ]
        return torch.stack(values).sum()


def _scores(trace: Trace, block: int) -> Tensor:
    q_BTHN, k_BTHN = trace.signal("queries")[block], trace.signal("keys")[block]
    rotation = trace.rotation(block)
    with torch.autocast(q_BTHN.device.type, enabled=False):
        return causal_scores(*(at_positions(x, rotation) for x in (q_BTHN, k_BTHN)))


def _score_error(student_BHTT: Tensor, teacher_BHTT: Tensor, used_BTT: Tensor) -> Tensor:
    if student_BHTT.shape != teacher_BHTT.shape:
        raise ValueError(
            f"the student has {student_BHTT.shape[1]} heads, the teacher {teacher_BHTT.shape[1]}: "
            "attention scores need the same number"
        )
    error_BTT = (student_BHTT - teacher_BHTT).square().mean(1)
    return error_BTT.where(used_BTT, 0.0).sum() / used_BTT.sum().clamp_min(1)
