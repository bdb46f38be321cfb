"""Fixed points whose gradients are implicit: equilibria of networks that settle.

Bal and Sengupta, SpikingBERT (AAAI 2024), arXiv 2308.10873, after Bai et al., Deep Equilibrium
Models, arXiv 1909.01377: where a = F(a), the adjoint u solves u = J^T u + dL/da, with J the
Jacobian of F at a, and the gradient of every parameter is u^T dF/dtheta. Nothing of the way to a is
kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

HISTORY = 5
"""Iterates that Anderson's mixing looks back at."""

_RIDGE = 1e-10


class NotSettledError(RuntimeError):
    """A fixed point was not reached; the message gives the residual and the iterations."""


def solve(
    f: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int = 30, tolerance: float = 1e-6
) -> Tensor:
    """X with x = f(x), by Anderson's mixing (Walker and Ni 2011), without a gradient.

    tolerance  largest ||f(x) - x|| relative to ||f(x)||

    Raises NotSettledError where it is not met within the iterations, or a value is not finite:
    what was reached then is not given to anyone.
    """
    points, images, residual = list[Tensor](), list[Tensor](), float("inf")
    x = start.detach()
    for _ in range(iterations):
        image = f(x).detach()
        gap, size = (image - x).norm(), image.norm()
        residual = float(gap / size.clamp_min(torch.finfo(x.dtype).tiny))
        if float(gap) == 0 or residual <= tolerance:
            return image
        if not bool(gap.isfinite()):
            break
        points, images = [*points, x][-HISTORY:], [*images, image][-HISTORY:]
        x = _mixed(points, images)
    raise NotSettledError(
        f"no fixed point: a residual of {residual:.1e} after {iterations} iterations, wanted "
        f"{tolerance:.0e}. A map whose spectral radius is 1 or more does not settle: scale the "
        "feedback down"
    )


def settled(
    f: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    feedback: bool = True,
    iterations: int = 30,
    tolerance: float = 1e-6,
) -> Tensor:
    """The equilibrium a = f(a), through which gradients reach all that f uses.

    Without `feedback` f does not look at its argument: a is f(start), and the gradient is that of
    plain back-propagation. Raises NotSettledError going forward or back.
    """
    if not feedback:
        return f(start)
    with torch.no_grad():
        found = solve(f, start, iterations=iterations, tolerance=tolerance)
    if not torch.is_grad_enabled():
        return found
    inner = found.detach().requires_grad_()
    with torch.enable_grad():
        again = f(inner)

    def adjoint(slope: Tensor) -> Tensor:
        def pulled(u: Tensor) -> Tensor:
            (back,) = torch.autograd.grad(again, inner, u, retain_graph=True)
            return back + slope

        return solve(pulled, slope, iterations=iterations, tolerance=tolerance)

    outer = f(found.detach())
    if outer.requires_grad:
        cast(Any, outer).register_hook(adjoint)
    return outer


def replaced(a_star: Tensor, a: Tensor) -> Tensor:
    """The value of `a` with the gradient of `a_star`: measured rates in the graph of a formula."""
    return cast(Tensor, _Replaced.apply(a_star, a))  # type: ignore[no-untyped-call]


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a_star: Tensor, a: Tensor) -> Tensor:
        return a.detach().view_as(a)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _mixed(points: list[Tensor], images: list[Tensor]) -> Tensor:
    """The images weighted so that their residuals cancel best; the weights sum to 1."""
    if len(points) == 1:
        return images[0]
    gaps_kn = torch.stack([(i - p).flatten() for p, i in zip(points, images, strict=True)]).double()
    gram_kk = gaps_kn @ gaps_kn.T
    size = gram_kk.diagonal().amax().clamp_min(torch.finfo(torch.float64).tiny)
    ridge_kk = _RIDGE * torch.eye(len(points), dtype=torch.float64, device=gram_kk.device)
    weight_k = torch.linalg.solve(gram_kk / size + ridge_kk, torch.ones_like(gram_kk[0]))
    weight_k = weight_k / weight_k.sum()
    stacked = torch.stack(images)
    mixed: Tensor = torch.tensordot(weight_k.to(stacked.dtype), stacked, dims=1)
    return mixed
