"""Surrogate gradients: what stands in for the derivative of a spike, as functions h(u).

u is the distance to the threshold; area 1 is that of a true jump. A neuron passes u in units of
its amplitude, so that a surrogate means the same at every scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.names import lookup

Surrogate = Callable[[Tensor], Tensor]


def straight_through(u: Tensor) -> Tensor:
    """1/2 everywhere: both jumps of a ternary spike give the identity (arXiv 1308.3432)."""
    return torch.full_like(u, 0.5)


def rectangle(u: Tensor, width: float | Tensor = 1.0) -> Tensor:
    """1[|u| < width/2] / width, area 1."""
    # Area 1 at every width: a wider window passes gradient to more neurons and less to each, so
    # that the learning rate keeps its meaning.
    return (u.abs() < 0.5 * width).to(u.dtype) / width


def atan(u: Tensor, alpha: float | Tensor = 2.0) -> Tensor:
    """(alpha/2) / (1 + (pi alpha u / 2)^2), peak alpha/2 and area 1 (arXiv 2007.05785)."""
    return (alpha / 2) / (1 + (0.5 * math.pi * alpha * u).square())


def superspike(u: Tensor, k: float | Tensor = 2.0) -> Tensor:
    """1 / (1 + k |u|)^2 (SuperSpike, arXiv 1705.11146), area 2/k."""
    return (1 + k * u.abs()).square().reciprocal()


def learnable(u: Tensor, p: float | Tensor = 0.5413248) -> Tensor:
    """Rectangle of width softplus(p) (after LSG, Lian et al., IJCAI 2023); by itself width 1.

    No gradient reaches p: the neuron that owns it lets the width follow its membrane's spread.
    """
    return rectangle(u, F.softplus(torch.as_tensor(p, device=u.device)))


SURROGATES: dict[str, Callable[..., Tensor]] = {
    "straight_through": straight_through,
    "rectangle": rectangle,
    "atan": atan,
    "superspike": superspike,
    "learnable": learnable,
}


def surrogate(name: str, shape: float | Tensor | None = None) -> Surrogate:
    """h(u) by name; `shape` is its width, alpha, k or p, None its default.

    Raises ValueError for an unknown name, a shape that is not above 0, or one where none is taken.
    """
    function = lookup(SURROGATES, name, setting="surrogate")
    if shape is None:
        return function
    if name == "straight_through":
        raise ValueError(f"surrogate_shape = {shape}: straight_through has none")
    if isinstance(shape, float | int) and not (math.isfinite(shape) and shape > 0):
        raise ValueError(f"surrogate_shape = {shape}: must be above 0")
    if function is atan and isinstance(shape, float | int):
        return partial(atan, alpha=float(shape))
    return lambda u: function(u, shape)


def alpha_of(h: Surrogate) -> float | None:
    """The alpha where `surrogate` gave an ATan of a fixed one: kernels know it by that."""
    if isinstance(h, partial) and h.func is atan:
        return float(h.keywords["alpha"])
    return 2.0 if h is atan else None


def in_units(h: Surrogate, unit: Tensor) -> Surrogate:
    """The same surrogate for distances measured in `unit`: h(u / unit) / unit, of equal area."""
    return lambda u: h(u / unit) / unit


def ternary_spikes(v: Tensor, theta: Tensor | float, h: Surrogate) -> Tensor:
    """Spikes 1[v > theta] - 1[v < -theta], in v's shape and dtype; theta > 0 broadcasts to v.

    Backward: ds/dv = h(v - theta) + h(v + theta), and ds/dtheta = h(v + theta) - h(v - theta)
    summed to theta's shape.
    """
    threshold = torch.as_tensor(theta, dtype=v.dtype, device=v.device)
    return cast(Tensor, _Ternary.apply(v, threshold, h))  # type: ignore[no-untyped-call]


def binary_spikes(v: Tensor, theta: Tensor | float, h: Surrogate) -> Tensor:
    """Spikes 1[v > theta], in v's shape and dtype; theta broadcasts to v.

    Backward: ds/dv = h(v - theta), and ds/dtheta = -h(v - theta) summed to theta's shape.
    """
    threshold = torch.as_tensor(theta, dtype=v.dtype, device=v.device)
    return cast(Tensor, _Binary.apply(v, threshold, h))  # type: ignore[no-untyped-call]


class _Ternary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, theta: Tensor, h: Surrogate) -> Tensor:
        ctx.save_for_backward(v, theta)
        ctx.h = h
        return (v > theta).to(v.dtype) - (v < -theta).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        v, theta = ctx.saved_tensors
        above, below = ctx.h(v - theta), ctx.h(v + theta)
        dtheta = gradients[0] * (below - above)
        return gradients[0] * (above + below), dtheta.sum_to_size(theta.shape), None


class _Binary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, theta: Tensor, h: Surrogate) -> Tensor:
        ctx.save_for_backward(v, theta)
        ctx.h = h
        return (v > theta).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        v, theta = ctx.saved_tensors
        dv = gradients[0] * ctx.h(v - theta)
        return dv, -dv.sum_to_size(theta.shape), None
