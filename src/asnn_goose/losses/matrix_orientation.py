"""Every mixer mixes tokens as the teacher's attention does: MOHAWK, step 1.

Bick et al., NeurIPS 2024, arXiv 2408.10189; the exact matrix of RWKV-7 in it is ours.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from asnn_goose.losses.features import at_positions, documents_of
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.ops.attention import causal_log_attention
from asnn_goose.ops.documents import same_document
from asnn_goose.ops.mixing_matrix import mixing_matrix
from asnn_goose.trace import Batch, Rotation, Trace

TINY = 1e-8

OPERANDS = ("queries", "log_decay", "written", "removal", "rate")
"""Signals that make a recurrence: r, log w, the written key, kappa and a."""

ATTENTION = ("queries", "keys")


class MatrixOrientation(TraceLoss):
    """Mean over blocks, sequences and heads of |M_S - M_T| (Frobenius norm).

    M_T is the softmax attention matrix, M_S what the recurrence of RWKV-7 does to values from an
    empty state (ops.mixing_matrix): without the group norm, bonus and gate that follow it. A
    recurrent teacher's M_T is of the latter kind. For windows of at most 256 tokens. Memory is one
    block's B H T^2; the rest is computed again in the backward pass. Tokens that do not count are
    left out, as if the text did not hold them; where documents are kept apart, both matrices are 0
    between them.
    """

    needs = frozenset({*OPERANDS, *ATTENTION})
    student_only = needs - frozenset(ATTENTION)
    teacher_takes = student_only

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32. ValueError where blocks or heads differ, or the window is too long."""
        _check(student, teacher)
        ours = zip(*(student.signal(name) for name in OPERANDS), strict=True)
        names = OPERANDS if "written" in teacher.signals else ATTENTION
        theirs = zip(*(teacher.signal(name) for name in names), strict=True)
        apart = documents_of(student, teacher)
        block = partial(_distance, batch.mask_BT, apart)
        values = [
            # A matrix (T,T) a head and block is far more than the operands it is made of.
            checkpoint(block, teacher.rotation(number), s, t, use_reentrant=False)
            for number, (s, t) in enumerate(zip(ours, theirs, strict=True))
        ]
        return torch.stack(values).mean()


def _distance(
    mask_BT: Tensor,
    documents_BT: Tensor | None,
    rotation: Rotation,
    student: tuple[Tensor, ...],
    teacher: tuple[Tensor, ...],
) -> Tensor:
    """|M_S - M_T| of one block, mean over sequences and heads."""
    with torch.autocast(mask_BT.device.type, enabled=False):
        found_BHTT = _recurrence(mask_BT, *student)
        if len(teacher) == len(OPERANDS):
            wanted_BHTT = _recurrence(mask_BT, *teacher)
        else:
            q_BTHN, k_BTHN = (at_positions(x, rotation) for x in teacher)
            wanted_BHTT = causal_log_attention(q_BTHN, k_BTHN, mask_BT, documents_BT).exp()
    counts_B1TT = mask_BT[:, None, :, None]
    if documents_BT is not None:
        # Within a document a recurrence mixes as it does alone, whatever stood before it.
        counts_B1TT = counts_B1TT & same_document(documents_BT)[:, None]
    error_BHTT = (found_BHTT - wanted_BHTT).where(counts_B1TT, 0.0)
    return error_BHTT.square().sum((-1, -2)).clamp_min(TINY**2).sqrt().mean()


def _recurrence(
    mask_BT: Tensor, r: Tensor, log_w: Tensor, k: Tensor, kappa: Tensor, a: Tensor
) -> Tensor:
    """Mixing matrix (B,H,T,T) in fp32 of operands (B,T,H,N)."""
    r, log_w, k, kappa, a = (x.float() for x in (r, log_w, k, kappa, a))
    keep = mask_BT[..., None, None]
    # Tokens that do not count: no decay, nothing removed, nothing written.
    log_w, k, beta = (x.where(keep, 0.0) for x in (log_w, k, kappa * a))
    return mixing_matrix(r, log_w, k, -kappa, beta)


def _check(student: Trace, teacher: Trace) -> None:
    # Asked of the signals, not of a mixer's name: another recurrence that gives them would do.
    if "written" not in student.signals:
        raise ValueError("the student's Trace has no recurrence: matrix_orientation is for RWKV-7")
    ours, theirs = student.signal("written"), teacher.signal("queries")
    if len(ours) != len(theirs):
        raise ValueError(
            f"the student has {len(ours)} blocks, the teacher {len(theirs)}: "
            "matrix_orientation needs the same number"
        )
    heads = ours[0].shape[2], theirs[0].shape[2]
    if heads[0] != heads[1]:
        raise ValueError(
            f"the student has {heads[0]} heads, the teacher {heads[1]}: matrix_orientation needs "
            "the same number"
        )
