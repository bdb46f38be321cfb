"""What every head gives, before the output projection, held against the teacher's head by head."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.distances import TINY
from asnn_goose.losses.features import counted
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.trace import HEAD_OUTPUTS, Batch, Trace

LEAST = 1e-3
"""Of what varies in a block's heads on average, what one counts for at least: a head that gives the
same at every token would else outweigh all others."""


class HeadOutput(TraceLoss):
    """Mean over blocks and heads of |h_S - h_T|^2 / |h_T - mean h_T|^2, summed over tokens; ours.

    Behind the projection a few loud heads decide, and of each head its mean, which says nothing
    about where it looks. Here every head weighs the same, and is measured by what varies: a head
    that copies must find the word, not the average one. Needs as many heads as the teacher has.
    """

    needs = frozenset({HEAD_OUTPUTS})

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        ours, theirs = student.signal(HEAD_OUTPUTS), teacher.signal(HEAD_OUTPUTS)
        mask_BT = batch.mask_BT
        layers = [
            _share_missed(counted_heads(s_BTHN, mask_BT), counted_heads(t_BTHN, mask_BT))
            for s_BTHN, t_BTHN in zip(ours, theirs, strict=True)
        ]
        return torch.stack(layers).mean()


def counted_heads(x_BTHN: Tensor, mask_BT: Tensor) -> Tensor:
    """Rows (n,H,N) of the tokens that count, in fp32."""
    rows_nC = counted(x_BTHN.flatten(-2), mask_BT)
    return rows_nC.view(-1, *x_BTHN.shape[-2:])


def _share_missed(s_nHN: Tensor, t_nHN: Tensor) -> Tensor:
    """Mean over heads of the share of what varies in the teacher's that the student misses."""
    if s_nHN.shape != t_nHN.shape:
        raise ValueError(
            f"head_output compares heads of one shape: the student has {s_nHN.shape[1]} of "
            f"{s_nHN.shape[2]} channels, the teacher {t_nHN.shape[1]} of {t_nHN.shape[2]}"
        )
    error_H = (s_nHN - t_nHN).square().sum((0, 2))
    varies_H = (t_nHN - t_nHN.mean(0)).square().sum((0, 2))
    least = (LEAST * varies_H.mean()).clamp_min(TINY)
    return (error_H / varies_H.clamp_min(least)).mean()
