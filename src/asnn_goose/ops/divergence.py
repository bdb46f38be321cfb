"""KL over the vocabulary in one pass a token, in compiled kernels (csrc/train): value and slope."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from asnn_goose.ops.fused import fits
from asnn_goose.ops.kernel_calls import addresses

MOST_TOP = 4096
"""Words that a teacher may be known by."""


def fused_kl(z_student_nV: Tensor, z_teacher_nV: Tensor, tau: float) -> Tensor:
    """tau^2 KL(p_teacher^tau || p_student^tau) (n,), with a gradient for the student's logits."""
    args = (z_student_nV, tau, 0.0, z_teacher_nV, None, None, None)
    return cast(Tensor, _Divergence.apply(*args))  # type: ignore[no-untyped-call]


def fused_top_kl(
    z_student_nV: Tensor,
    ids_nK: Tensor,
    log_p_nK: Tensor,
    log_rest_n1: Tensor,
    tau: float,
    *,
    least: float,
) -> Tensor:
    """The same with all words but the teacher's top ones as one; log p is at temperature tau.

    The student's mass on that one counts as at least `least`.
    """
    args = (z_student_nV, tau, least, None, ids_nK, log_p_nK, log_rest_n1)
    return cast(Tensor, _Divergence.apply(*args))  # type: ignore[no-untyped-call]


def fits_vocabulary(*logits: Tensor, top: int = 1) -> bool:
    """Whether the kernel takes such logits; a vocabulary may have any size."""
    return top <= MOST_TOP and all(fits(z_nV, columns=1) and z_nV.dim() == 2 for z_nV in logits)


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student_nV: Tensor,
        tau: float,
        least: float,
        teacher_nV: Tensor | None,
        ids_nK: Tensor | None,
        log_p_nK: Tensor | None,
        log_rest_n1: Tensor | None,
    ) -> Tensor:
        from asnn_goose import _native

        inputs = [
            None if x is None else x.detach().contiguous()
            for x in (student_nV, teacher_nV, ids_nK, log_p_nK, log_rest_n1)
        ]
        tokens, words = student_nV.shape
        values_n, slope_nV = student_nV.new_empty(tokens), torch.empty_like(student_nV)
        _native.divergence(
            sizes=(tokens, words, 0 if ids_nK is None else ids_nK.shape[1]),
            tau=tau,
            least=least,
            inputs=addresses(*inputs),
            outputs=addresses(values_n, slope_nV),
            threads=torch.get_num_threads(),
        )
        ctx.save_for_backward(slope_nV)
        return values_n

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (slope_nV,) = ctx.saved_tensors
        return slope_nV * gradients[0][:, None], None, None, None, None, None, None
