"""Ternary codes whose jumps are ramps while training begins, and narrow to jumps."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from asnn_goose.ops.surrogate import rectangle


def soft_codes(v: Tensor, theta: Tensor, *, width: float) -> Tensor:
    """r((v - theta) / width) - r((-v - theta) / width) with r(u) = clip(u + 1/2, 0, 1).

    theta broadcasts to v. With a theta of 1/2 and a width of 1 the codes are v itself, cut off at
    1; at width 0 they are 1[v > theta] - 1[v < -theta].

    The gradient is that of hard codes at every width: straight through to v (arXiv 1308.3432), and
    to theta through a rectangle of width 1 around each jump.

    >>> soft_codes(torch.tensor([-2.0, 0.3, 0.7]), torch.tensor(0.5), width=1.0).tolist()
    [-1.0, 0.30000001192092896, 0.699999988079071]
    """
    return cast(Tensor, _SoftCodes.apply(v, theta, width))  # type: ignore[no-untyped-call]


def _jump(u: Tensor, width: float) -> Tensor:
    if not width:
        return (u > 0).to(u.dtype)
    return (u / width + 0.5).clamp_(0, 1)


class _SoftCodes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, theta: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(v, theta)
        return _jump(v - theta, width) - _jump(-v - theta, width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (g,), (v, theta) = gradients, ctx.saved_tensors
        dtheta = g * (rectangle(v + theta) - rectangle(v - theta))
        return g, dtheta.sum_to_size(theta.shape), None
