"""Every mixer mixes tokens as the teacher's attention does: MOHAWK, step 1.

Bick et al., NeurIPS 2024, arXiv 2408.10189; the exact matrix of RWKV-7 in it is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from asnn_goose.losses.features import at_positions, check_rope_theta
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.ops.attention import causal_log_attention
from asnn_goose.ops.mixing_matrix import mixing_matrix
from asnn_goose.trace import RECURRENCE, Batch, Trace

TINY = 1e-8


OPERANDS = ("queries", "log_decay", "written", "removal", "rate")
"""Fields of a Trace that make a recurrence: r, log w, the written key, kappa and a."""

ATTENTION = ("queries", "keys")


class MatrixOrientation(TraceLoss):
    """Mean over blocks, sequences and heads of |M_S - M_T| (Frobenius norm).

    M_T is the softmax attention matrix, M_S what the recurrence of RWKV-7 does to values from an
    empty state (ops.mixing_matrix): without the group norm, bonus and gate that follow it. A
    recurrent teacher's M_T is of the latter kind. For windows of at most 256 tokens. Memory is one
    block's B H T^2; the rest is computed again in the backward pass. Tokens that do not count are
    left out, as if the text did not hold them.

    rope_theta  the teacher's rotary base: a Trace holds its q and k before positions, and the
                attention of a rotary teacher is only had with it; 0 for a teacher without
    """

    needs = RECURRENCE | {"queries", "keys"}

    def __init__(self, *, rope_theta: float = 0.0) -> None:
        super().__init__()
        self.rope_theta = check_rope_theta(rope_theta)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32. ValueError where blocks or heads differ, or the window is too long."""
        _check(student, teacher)
        ours = zip(*(getattr(student, name) for name in OPERANDS), strict=True)
        names = OPERANDS if teacher.written else ATTENTION
        theirs = zip(*(getattr(teacher, name) for name in names), strict=True)
        values = [
            checkpoint(self._block, s, t, batch.mask_BT, use_reentrant=False)
            for s, t in zip(ours, theirs, strict=True)
        ]
        return torch.stack(values).mean()

    def _block(
        self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], mask_BT: Tensor
    ) -> Tensor:
        with torch.autocast(mask_BT.device.type, enabled=False):
            found_BHTT = _recurrence(mask_BT, *student)
            if len(teacher) == len(OPERANDS):
                wanted_BHTT = _recurrence(mask_BT, *teacher)
            else:
                q_BTHN, k_BTHN = (at_positions(x, self.rope_theta) for x in teacher)
                wanted_BHTT = causal_log_attention(q_BTHN, k_BTHN, mask_BT).exp()
        error_BHTT = (found_BHTT - wanted_BHTT).where(mask_BT[:, None, :, None], 0.0)
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
    if not student.written:
        raise ValueError("the student's Trace has no recurrence: matrix_orientation is for RWKV-7")
    if len(student.written) != len(teacher.queries):
        raise ValueError(
            f"the student has {len(student.written)} blocks, the teacher {len(teacher.queries)}: "
            "matrix_orientation needs the same number"
        )
    heads = student.written[0].shape[2], teacher.queries[0].shape[2]
    if heads[0] != heads[1]:
        raise ValueError(
            f"the student has {heads[0]} heads, the teacher {heads[1]}: matrix_orientation needs "
            "the same number"
        )
