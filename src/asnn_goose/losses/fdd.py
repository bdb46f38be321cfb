"""Feature dynamics distillation: layers compared by what the head would say of them.

Gong et al., ACL 2025 (long 1125), "Beyond Logits: Aligning Feature Dynamics for Effective KD".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from asnn_goose.losses.chunked_head import head_terms
from asnn_goose.losses.features import counted, layer_pairs, no_cost
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.losses.layer_map import LayerMap, Rule
from asnn_goose.trace import Batch, Trace, capped

SHORTEST = 1e-3
"""Length below which a change between layers counts as none: a block that does nothing yet would
otherwise get a gradient without bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """A model's last norm and head: from hidden states to logits."""

    norm: Callable[[Tensor], Tensor]
    head_VD: Tensor
    cap: float


class FDD(TraceLoss):
    """Sum over layers j of trajectory KL(p_T,j || p_S,j) + derivative (1 - cos of changes).

    log p = log_softmax(head(norm h)) of a selected layer, each model with its own norm and head;
    its change is the difference from the selected layer before. Mean over tokens. The last layer
    is always among the selected; the loss on the logits is another term.

    layers      how many are selected at most, evenly spread
    layer_map   a rule or pairs of losses.layer_map, from which they are selected
    trajectory, derivative   weights of the two parts; the paper's could not be verified
    chunk       tokens whose logits exist at one time, for each selected layer
    """

    needs = frozenset({"hidden", "vocab"})

    def __init__(
        self,
        *,
        layers: int = 4,
        layer_map: Rule = "uniform",
        trajectory: float = 1.0,
        derivative: float = 1.0,
        chunk: int = 64,
    ) -> None:
        super().__init__()
        if min(trajectory, derivative) < 0 or trajectory + derivative == 0:
            raise ValueError(
                f"trajectory = {trajectory}, derivative = {derivative}: none below 0, one above"
            )
        if chunk < 1:
            raise ValueError(f"chunk = {chunk}: must be at least 1 token")
        self.layers, self.chunk = LayerMap(layer_map, at_most=layers), chunk
        self.trajectory, self.derivative = float(trajectory), float(derivative)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32. ValueError where the vocabularies differ."""
        ours, theirs = _lens(student, whose="student"), _lens(teacher, whose="teacher")
        if ours.head_VD.shape[0] != theirs.head_VD.shape[0]:
            raise ValueError(
                f"the student has {ours.head_VD.shape[0]} words, the teacher "
                f"{theirs.head_VD.shape[0]}: FDD needs one vocabulary"
            )
        pairs = layer_pairs(student, teacher, self.layers)
        count = int(batch.mask_BT.sum())
        if count == 0:
            return no_cost(student)
        # The student's norm is outside of the chunks: its gradient goes the ordinary way.
        found = [ours.norm(_of_tokens(s, batch.mask_BT)) for s, _ in pairs]
        wanted = [_of_tokens(t, batch.mask_BT) for _, t in pairs]
        # Token-major rows, so that a chunk of rows holds all layers of its tokens.
        rows_nD, target_nKD = torch.stack(found, dim=1).flatten(0, 1), torch.stack(wanted, dim=1)
        K = len(pairs)

        def compute(rows: slice, logits: tuple[Tensor, ...]) -> list[Tensor]:
            # Teacher's logits live for one chunk, as the student's do.
            with torch.no_grad():
                states_nKD = target_nKD[rows.start // K : rows.stop // K]
                log_p_nKV = _log_words(theirs.norm(states_nKD) @ theirs.head_VD.T, theirs.cap)
            log_q_nKV = _log_words(logits[0].unflatten(0, (-1, K)), ours.cap)
            values_n = self._per_token(log_q_nKV, log_p_nKV)
            return [values_n.sum() / count]

        return head_terms(compute, rows_nD, (ours.head_VD,), (), chunk=K * self.chunk).sum()

    def _per_token(self, log_q_nKV: Tensor, log_p_nKV: Tensor) -> Tensor:
        kl_n = (log_p_nKV.exp() * (log_p_nKV - log_q_nKV)).sum((-1, -2))
        turned_n = _turned(log_q_nKV.diff(dim=1), log_p_nKV.diff(dim=1)).sum(-1)
        return self.trajectory * kl_n + self.derivative * turned_n


def _lens(trace: Trace, *, whose: str) -> Lens:
    if trace.final_norm is None or trace.head_VD is None:
        raise ValueError(f"the {whose}'s Trace has no norm and head: capture 'vocab'")
    return Lens(norm=trace.final_norm, head_VD=trace.head_VD, cap=trace.logit_cap)


def _of_tokens(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Rows of the tokens that count, in the dtype that the norm and the head work in."""
    return counted(x_BTD, mask_BT).to(x_BTD.dtype)


def _log_words(z_nKV: Tensor, cap: float) -> Tensor:
    return torch.log_softmax(capped(z_nKV.float(), cap), dim=-1)


def _turned(x_nKV: Tensor, y_nKV: Tensor) -> Tensor:
    """1 - cos along the vocabulary, as half the squared distance of the unit vectors.

    0 where neither changes, and no digits are lost near 0.
    """
    unit_x, unit_y = (x / x.norm(dim=-1, keepdim=True).clamp_min(SHORTEST) for x in (x_nKV, y_nKV))
    half_nK: Tensor = (unit_x - unit_y).square().sum(-1) / 2
    return half_nK
