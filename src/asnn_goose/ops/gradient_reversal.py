"""Gradient reversal: the identity forward, a scaled and reversed gradient backward."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """The same tensor; its gradient is multiplied by -strength.

    Ganin and Lempitsky 2015, arXiv 1409.7495. A minimiser above and a maximiser below
    this point can so share one backward pass. 0 stops the gradient, a negative strength lets it
    pass with its own sign.
    """
    return cast(Tensor, _ReverseGradient.apply(x, strength))  # type: ignore[no-untyped-call]


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        # A view, for autograd treats an input that is handed back as it is in a way of its own.
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        return -ctx.strength * grad_outputs[0], None
