"""KL divergences at a temperature of each token's own, with closed gradients.

Neither the log-probabilities nor the graph of such a loss can be shared with another, so the
gradient is taken along with the value, for a few tokens at a time while they are in the cache.
What stays for the backward pass is one tensor (n,V).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from asnn_goose.losses.divergence import ROWS


def tempered_kl(z_student_nV: Tensor, z_teacher_nV: Tensor, tau_n: Tensor) -> Tensor:
    """KL(p_teacher^tau || p_student^tau) (n,); gradients for the student's logits and tau."""
    return _tempered(z_student_nV, z_teacher_nV, tau_n, reverse=False)


def tempered_reverse_kl(z_student_nV: Tensor, z_teacher_nV: Tensor, tau_n: Tensor) -> Tensor:
    """KL(p_student^tau || p_teacher^tau) (n,); gradients for the student's logits and tau."""
    return _tempered(z_student_nV, z_teacher_nV, tau_n, reverse=True)


def _tempered(
    z_student_nV: Tensor, z_teacher_nV: Tensor, tau_n: Tensor, *, reverse: bool
) -> Tensor:
    inputs = (z_student_nV, z_teacher_nV, tau_n)
    return cast(Tensor, _Tempered.apply(reverse, *inputs))  # type: ignore[no-untyped-call]


class _Tempered(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, reverse: bool, z_student_nV: Tensor, z_teacher_nV: Tensor, tau_n: Tensor
    ) -> Tensor:
        values_n, d_tau_n = torch.empty_like(tau_n), torch.zeros_like(tau_n)
        d_student_nV = torch.empty_like(z_student_nV)
        for start in range(0, len(tau_n), ROWS):
            rows = slice(start, start + ROWS)
            tau_r1 = tau_n[rows, None]
            logs = [torch.log_softmax(z[rows] / tau_r1, -1) for z in (z_student_nV, z_teacher_nV)]
            log_a_rV, log_b_rV = logs if reverse else logs[::-1]
            a_rV, gap_rV = log_a_rV.exp(), log_a_rV - log_b_rV
            kl_r1 = (a_rV * gap_rV).sum(-1, keepdim=True)
            values_n[rows] = kl_r1[:, 0]
            to_student_rV = _to_first(a_rV, gap_rV, kl_r1) if reverse else log_b_rV.exp() - a_rV
            torch.div(to_student_rV, tau_r1, out=d_student_nV[rows])
            if ctx.needs_input_grad[3]:
                # d log p / d tau is -log p / tau but for a constant, which the factors cancel
                to_a_rV, to_b_rV = _to_first(a_rV, gap_rV, kl_r1), log_b_rV.exp() - a_rV
                pull_r = (to_a_rV * log_a_rV + to_b_rV * log_b_rV).sum(-1)
                d_tau_n[rows] = -pull_r / tau_n[rows]
        ctx.save_for_backward(d_student_nV, d_tau_n)
        return values_n

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (grad_n,) = grad_outputs
        d_student_nV, d_tau_n = ctx.saved_tensors
        return None, d_student_nV * grad_n[:, None], None, d_tau_n * grad_n


def _to_first(a_rV: Tensor, gap_rV: Tensor, kl_r1: Tensor) -> Tensor:
    """Gradient of KL(a || b) for the logits of a."""
    return a_rV * (gap_rV - kl_r1)
