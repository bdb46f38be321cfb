"""KL divergences at a temperature of each token's own, with closed gradients.

Neither the log-probabilities nor the graph of such a loss can be shared with another, so the
gradient is taken along with the value, for a few tokens at a time while they are in the cache.
What stays for the backward pass is one tensor (n,V), and none where nothing is differentiated.
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
        to_student, to_tau = ctx.needs_input_grad[1], ctx.needs_input_grad[3]
        values_n, d_tau_n = torch.empty_like(tau_n), torch.zeros_like(tau_n)
        d_student_nV = torch.empty_like(z_student_nV) if to_student else None
        for start in range(0, len(tau_n), ROWS):
            rows = slice(start, start + ROWS)
            u_rV, v_rV = (z[rows] / tau_n[rows, None] for z in (z_student_nV, z_teacher_nV))
            pair = (u_rV, v_rV) if reverse else (v_rV, u_rV)
            values_n[rows], slopes = _divergence(*pair, differentiate=to_student or to_tau)
            if d_student_nV is not None:
                d_student_nV[rows] = slopes[0 if reverse else 1]
            if to_tau:
                # d u / d tau = -u / tau: the gradient for tau is an inner product that is at hand.
                pulls = (_dot(d_rV, x_rV) for d_rV, x_rV in zip(slopes, pair, strict=True))
                d_tau_n[rows] = -sum(pulls) / tau_n[rows]
        ctx.save_for_backward(d_student_nV, d_tau_n, tau_n)
        return values_n

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (grad_n,) = grad_outputs
        d_student_nV, d_tau_n, tau_n = ctx.saved_tensors
        if d_student_nV is not None:
            # 1 / tau here and not in the loop: one pass over (n,V) for both factors.
            d_student_nV = d_student_nV * (grad_n / tau_n)[:, None]
        return None, d_student_nV, None, d_tau_n * grad_n


def _divergence(
    u_rV: Tensor, v_rV: Tensor, *, differentiate: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """KL(softmax u || softmax v) (r,), and its gradients for u and v where they are wanted."""
    a_rV, b_rV = torch.softmax(u_rV, -1), torch.softmax(v_rV, -1)
    gap_rV = (u_rV - v_rV).sub_(_difference_of_totals((u_rV, a_rV), (v_rV, b_rV)))
    kl_r = _dot(a_rV, gap_rV)
    if not differentiate:
        return kl_r, ()
    return kl_r, (gap_rV.sub_(kl_r[:, None]).mul_(a_rV), b_rV.sub_(a_rV))


def _dot(x_rV: Tensor, y_rV: Tensor) -> Tensor:
    """Inner product of each row (r,). Not vecdot, which autocast would take in bf16."""
    return (x_rV * y_rV).sum(-1)


def _difference_of_totals(*sides: tuple[Tensor, Tensor]) -> Tensor:
    """What log sum exp u is above log sum exp v (r,1), from logits and probabilities of both.

    The largest logit less its log-probability is such a total. So one exponential per word gives
    probabilities and totals, where log-probabilities would need a second to go back.
    """
    (top_u_r1, top_a_r1), (top_v_r1, top_b_r1) = (
        (logits_rV.amax(-1, keepdim=True), p_rV.amax(-1, keepdim=True)) for logits_rV, p_rV in sides
    )
    # A quotient: two logarithms near -11 would lose digits that the small difference needs.
    return (top_u_r1 - top_v_r1) + torch.log(top_b_r1 / top_a_r1)
